"""Proxy against real: which architectures, the coefficients, and a study that stops and goes on."""

import importlib.util
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from running import ROOT, load_script, only_run, short_run, stop_at, use_tiny_net, write_pictures

from models.autogan.architecture import head_sizes
from models_search.search_space import stratified_architectures
from utils.cli import UserError, run_script
from utils.metrics.correlation import rank_correlations
from utils.run.checkpoint import load_checkpoint, save_checkpoint


@pytest.mark.parametrize("levels, count", [(1, 36), (1, 20), (3, 20), (3, 7)])
def test_architectures_are_distinct_and_show_every_value_of_every_token_equally_often(levels, count):
    drawn = stratified_architectures(levels, count, torch.Generator().manual_seed(3))
    assert len(set(drawn)) == count
    sizes = [size for level in range(levels) for size in head_sizes(level)]
    for column, size in zip(zip(*(each.tokens for each in drawn)), sizes):
        counts = Counter({value: 0 for value in range(size)}) + Counter(column)
        times = [counts[value] for value in range(size)]
        assert max(times) - min(times) <= 1
    assert drawn != stratified_architectures(levels, count, torch.Generator().manual_seed(4))


def test_more_architectures_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="36 architectures, not 37"):
        stratified_architectures(1, 37, torch.Generator())


def test_the_coefficients_are_those_of_ranks_and_the_interval_holds_the_true_one():
    found = rank_correlations([1, 2, 3, 4, 5], [1, 4, 9, 16, 7], resamples=200)
    assert found["spearman"]["value"] == pytest.approx(0.7)
    assert found["kendall"]["value"] == pytest.approx(0.6)
    held, trials = 0, 60
    for seed in range(trials):
        x, y = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 60).T
        found = rank_correlations(x.tolist(), y.tolist(), resamples=200, seed=seed)["spearman"]
        held += found["low"] <= 6 / np.pi * np.arcsin(0.7 / 2) <= found["high"]
    assert 0.85 * trials <= held < trials


def test_an_interval_depends_on_the_seed_alone_and_grows_with_the_confidence():
    x, y = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 30).T

    def interval(**options):
        return rank_correlations(x.tolist(), y.tolist(), resamples=200, **options)["kendall"]

    assert interval() == interval(seed=0) == interval(confidence=0.95) != interval(seed=1)
    narrow, wide = interval(confidence=0.5), interval()
    assert wide["low"] < narrow["low"] < narrow["value"] < narrow["high"] < wide["high"]


def test_scores_that_are_all_equal_have_no_coefficient():
    assert rank_correlations([1, 1, 1], [1, 2, 3], resamples=20)["spearman"] == dict(
        value=None, low=None, high=None
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Run exps/proxy_correlation.py with these options."""
    spec = importlib.util.spec_from_file_location("proxy_correlation", ROOT / "exps" / "proxy_correlation.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "rank_correlations", lambda *scores: rank_correlations(*scores, resamples=50))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["proxy_correlation.py", *map(str, words)])
        module.main()

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    """Folders of finished searches: {dynamic_reset_threshold: folder}."""
    folders = {}
    for threshold in ("0", "1e6"):
        folder = tmp_path_factory.mktemp("finished")
        with pytest.MonkeyPatch.context() as monkeypatch:
            use_tiny_net(monkeypatch)
            monkeypatch.chdir(folder)
            command = f"{short_run('search', pictures)} --dynamic_reset_threshold {threshold}"
            monkeypatch.setattr(sys, "argv", command.split())
            load_script("search").main()
        folders[threshold] = only_run(folder, "search")
    return folders


@pytest.fixture
def searched(monkeypatch, tmp_path, finished):
    """The folder of a finished search, in which a test may change files."""
    use_tiny_net(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished["0"], tmp_path / "logs" / "search"))


SMALL = "--architectures 5 --epochs 1 --gf_dim 4 --df_dim 4".split()


def test_a_study_that_stops_and_goes_on_ends_with_the_same_numbers(tmp_path, monkeypatch, study, searched):
    study(searched, *SMALL)
    folder = tmp_path / "logs" / f"proxy_correlation_{searched.name}"
    through = json.loads((folder / "proxy_correlation.json").read_text())
    folder.rename(tmp_path / "through")
    for call in (3, 9):
        stops, heal = stop_at(call, monkeypatch)
        with pytest.raises(stops):
            study(searched, *SMALL)
        heal()
    study(searched, *SMALL)
    again = json.loads((folder / "proxy_correlation.json").read_text())
    assert again["correlations"] == through["correlations"]
    assert [pair["architecture"] for pair in again["pairs"]] == [
        pair["architecture"] for pair in through["pairs"]
    ]
    assert len(again["pairs"]) == 5 and again["seconds"]["real"] > 0 and again["seconds"]["search"] > 0
    for pair, other in zip(again["pairs"], through["pairs"]):
        for side in ("proxy", "real"):
            assert [pair[side][name] for name in ("is", "fid")] == [
                other[side][name] for name in ("is", "fid")
            ]
    results = json.loads((folder / "architecture_000" / "results.json").read_text())
    assert [score["iteration"] for score in results["history"]] == [
        3
    ]  # 5 steps of 4 of 20 images, n_critic 2
    assert again["pairs"][0]["real"]["fid"] == results["final"]["fid"]


def test_proxies_are_scores_in_the_shared_gan(tmp_path, monkeypatch, study, searched):
    """With other shared weights they differ, and the scores of training alone do not."""
    found = []
    for scale in (1.0, 0.5):
        file = searched / "Model" / "checkpoint.pth"
        state = load_checkpoint(file)
        state["gan"]["generator"]["linear.weight"] *= scale
        save_checkpoint(file, state)
        study(searched, *SMALL, "--exp_name", f"scale{scale}")
        folder = tmp_path / "logs" / f"scale{scale}_{searched.name}"
        found.append(json.loads((folder / "proxy_correlation.json").read_text())["pairs"])
    first, second = found
    assert [pair["proxy"]["fid"] for pair in first] != [pair["proxy"]["fid"] for pair in second]
    assert [pair["real"]["fid"] for pair in first] == [pair["real"]["fid"] for pair in second]


def test_a_mistake_is_one_line_before_anything_is_trained(tmp_path, study, searched, capsys):
    (tmp_path / "unfinished").mkdir()
    capsys.readouterr()
    for words, expected in (
        (["nowhere"], "RUN: nowhere is not the folder of a finished search"),
        (["unfinished"], "RUN: unfinished is not the folder of a finished search"),
        ([searched, "--architectures", "9999999"], "--architectures: 2 cells make 2592 architectures"),
        ([searched, "--architectures", "4"], "--architectures: must be at least 5"),
        ([searched, "--epochs", "0"], "--epochs: must be at least 1"),
        ([searched, "--epochs", "2147483647"], "--epochs: must be at most 1000000"),
        ([searched, "--fid_stat", "nowhere.npz"], "--fid_stat: no file nowhere.npz"),
        ([searched, "--estimate"], "--estimate: without effect in this script"),
        ([searched, "--max_iter=5"], "--max_iter: without effect in this script"),
        ([searched, "--img_size", "32"], "--img_size"),
    ):
        with pytest.raises(SystemExit) as ending:
            run_script(lambda words=words: study(*words))
        line = capsys.readouterr().err
        assert ending.value.code == 2 and expected in line and line.count("\n") == 1, line
    assert [path.name for path in (tmp_path / "logs").iterdir()] == [searched.name]


@pytest.mark.parametrize("content", ["[]", "{}", '{"hours": "1"}', "[" * 100000, "{"])
def test_a_search_whose_results_are_damaged_is_refused(study, searched, content):
    (searched / "results.json").write_text(content)
    with pytest.raises(UserError, match="^RUN: .* is not the folder of a finished search"):
        study(searched, *SMALL)


@pytest.mark.parametrize("content", ["[]", '{"1 0 1 1": {}}', '{"1 0 1 1": 3}', "{"])
def test_scores_that_are_damaged_are_named(tmp_path, study, searched, content):
    folder = tmp_path / "logs" / f"proxy_correlation_{searched.name}"
    folder.mkdir()
    (folder / "config.json").write_text('{"options": {}}')
    (folder / "proxies.json").write_text(content)
    with pytest.raises(
        UserError, match="^--exp_name: .*proxies.json holds no scores of architectures; remove it"
    ):
        study(searched, *SMALL)


def test_a_search_whose_gan_was_reset_at_its_end_is_refused(monkeypatch, tmp_path, study, finished):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="was reset after its last iteration"):
        study(finished["1e6"], *SMALL)
