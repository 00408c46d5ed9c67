"""train_derived.py --derive: the best of a search from scratch, several seeds each, and a table of them."""

import json
import os

import pytest
import torch
from running import (
    SHORT,
    assert_equal_states,
    only_run,
    read_metrics,
    stop_at,
    use_tiny_net,
    write_pictures,
)

import utils.metrics.evaluate
import utils.training.loop
from models_search.retraining.table import (
    architecture_row,
    ranked_rows,
    table_text,
    training_row,
    write_table,
)
from utils.cli import UserError
from utils.run.checkpoint import load_checkpoint
from utils.run.derived import write_derived
from utils.training.loop import Diverged

TRAINING = (
    f"{SHORT} --gf_dim 4 --df_dim 4 --max_iter 3 --n_critic 2 --num_eval_imgs 8 -gen_bs 4 -dis_bs 4 "
    "--score_start --dataset folder --data_path"
)
RANKED = [
    {"architecture": text, "reward": reward}
    for text, reward in (
        ("1 0 1 1 | 0 1 2 1 1", 3.0),
        ("0 0 1 1 | 0 1 2 1 1", 2.0),
        ("1 1 1 1 | 0 1 2 1 0", 1.0),
    )
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def command(tmp_path, monkeypatch, pictures):
    """The command line that derives the two best of three, two seeds each."""
    use_tiny_net(monkeypatch)
    (tmp_path / "found").mkdir()
    write_derived(tmp_path / "found" / "derived.json", "is", "tiny", RANKED)
    return f"train_derived --derive found/derived.json --topk 2 --seeds 2 {TRAINING} {pictures}"


@pytest.fixture
def steps(monkeypatch):
    """A list with an entry for each training step."""
    original, taken = utils.training.loop.discriminator_step, []

    def counted(*arguments, **options):
        taken.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(utils.training.loop, "discriminator_step", counted)
    return taken


def test_each_training_is_the_one_that_its_own_command_makes(type_command, tmp_path, command, pictures):
    type_command(command)
    study = tmp_path / "logs" / "derive_found"
    assert {path.name for path in study.glob("rank_*")} == {
        f"rank_{rank:02d}_seed_{seed}" for rank in (1, 2) for seed in (24, 25)
    }
    training = f"{TRAINING.replace('--random_seed 24', '--random_seed 25')} {pictures}"
    type_command(f"train_derived --arch_file found/derived.json --rank 2 {training} --exp_name alone")
    run, alone = study / "rank_02_seed_25", only_run(tmp_path, "alone")
    first, second = (load_checkpoint(folder / "Model" / "checkpoint.pth") for folder in (run, alone))
    assert first["options"]["exp_name"] != second["options"].pop("exp_name") and first["options"].pop(
        "exp_name"
    )
    assert_equal_states(first, second)
    assert read_metrics(run) == read_metrics(alone)
    results, others = (json.loads((folder / "results.json").read_text()) for folder in (run, alone))
    assert results.pop("seconds") and others.pop("seconds") and results == others


@pytest.mark.parametrize("call, by_signal", [(1, True), (6, True), (8, False)])
def test_the_same_command_goes_on_and_trains_nothing_again(
    type_command, tmp_path, monkeypatch, command, steps, call, by_signal
):
    type_command(command)
    study, needed = tmp_path / "logs" / "derive_found", len(steps)
    table = json.loads((study / "derive.json").read_text())
    study.rename(tmp_path / "through")
    stops, heal = stop_at(call, monkeypatch, by_signal)
    with pytest.raises(stops):
        type_command(command)
    heal()
    type_command(command)
    assert without_seconds(json.loads((study / "derive.json").read_text())) == without_seconds(table)
    if by_signal:  # a power cut loses the training that had not been saved
        assert len(steps) == 2 * needed
    type_command(f"{command} --topk 3 --rank_by fid")
    assert len(steps) <= 2.5 * needed + 6
    assert (study / "rank_03_seed_25" / "results.json").is_file()


def without_seconds(content):
    if isinstance(content, dict):
        return {name: without_seconds(value) for name, value in content.items() if name != "seconds"}
    return list(map(without_seconds, content)) if isinstance(content, list) else content


def test_a_training_that_diverges_is_left_out_and_tried_again_with_rollback_only(
    type_command, tmp_path, monkeypatch, command, steps, capsys
):
    original = utils.training.loop.train_steps
    failing = [True]

    def train_steps(gan, *arguments, **options):
        if failing[0] and gan.generator.architecture.cells[0].conv == "post":  # the second architecture
            raise Diverged("the loss is nan at step 3")
        return original(gan, *arguments, **options)

    monkeypatch.setattr(utils.training.loop, "train_steps", train_steps)
    type_command(command)
    study = tmp_path / "logs" / "derive_found"
    first, second = json.loads((study / "derive.json").read_text())["architectures"]
    assert (first["failed"], second["failed"]) == (0, 2) and second["last"]["is"]["mean"] is None
    assert "| 2, 2 failed |" in (study / "derive.md").read_text()
    taken = len(steps)
    failing[0] = False
    type_command(command)
    assert len(steps) == taken
    type_command(f"{command} --on_nan rollback")
    assert len(steps) == 2 * taken
    assert "failed" not in (study / "derive.md").read_text()


def test_if_all_diverge_the_derivation_ends_as_diverged(type_command, monkeypatch, command):
    monkeypatch.setattr(utils.metrics.evaluate, "all_finite", lambda images: torch.tensor(False))
    with pytest.raises(Diverged, match="no training of logs/derive_found ended: .*NaN or infinity"):
        type_command(command)


@pytest.mark.parametrize(
    "options, words",
    [
        ("--topk 4", "--topk: found/derived.json holds 3 architectures; give 1 to 3"),
        ("--topk 0", "--topk: must be at least 1"),
        ("--seeds 0", "--seeds: must be at least 1"),
        ("--img_size 32", "--img_size: 2 cells (--derive) on --bottom_width 4 make 16 px images, not 32"),
        ("--arch 1 0 1 1", "--arch: without effect beside --derive"),
        ("--rank 2", "--rank: without effect beside --derive"),
        ("--load_path x", "--load_path: without effect beside --derive"),
        ("--resume x", "--resume: without effect beside --derive"),
        ("--data_path nowhere", "--data_path"),
        ("--fid_stat nowhere.npz", "--fid_stat: no file nowhere.npz"),
        ("--derive nowhere.json", "--derive: no file nowhere.json"),
        ("--derive growing.json", "--gf_dim: without effect with growing"),
        ("--derive mixed.json", "--derive: mixed.json holds architectures of several families"),
        ("--derive other.json", "--derive: cell 1"),
        ("--derive empty.json", "--derive: empty.json holds no architecture"),
    ],
)
def test_a_derivation_refuses_a_mistake_before_anything_is_trained(
    fail_command, tmp_path, command, options, words
):
    growing = {"architecture": "4: G 3x4 D 3x4", "reward": 1.0}
    files = {"growing": [growing], "mixed": [RANKED[0], growing], "empty": []}
    files["other"] = [{"architecture": "7 7 7 7", "reward": 1.0}]
    for name, entries in files.items():
        write_derived(tmp_path / f"{name}.json", "is", "tiny", entries)
    command = command if "--topk" in options else command.replace("--topk 2 ", "")
    assert words in fail_command(f"{command} {options}")


@pytest.mark.parametrize("option", ["--topk 2", "--seeds 2", "--rank_by fid", "--workers 2"])
def test_options_of_a_derivation_need_one(fail_command, option):
    name = option.split()[0]
    assert f"{name}: without effect without --derive" in fail_command(
        f"train_derived --gen_model sngan {option}"
    )


def test_another_training_in_the_same_folder_is_refused(type_command, fail_command, tmp_path, command):
    type_command(command)
    assert "--max_iter: logs/derive_found was started with 3, not 4" in fail_command(
        f"{command} --max_iter 4"
    )
    write_derived(tmp_path / "found" / "derived.json", "is", "tiny", RANKED[::-1])
    assert "--derive: logs/derive_found was started with" in fail_command(command)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"options": "derive"}', b'{"options": []}', b"[" * 100000, None]
)
def test_a_folder_that_holds_something_else_is_no_study(fail_command, tmp_path, command, content):
    folder = tmp_path / "logs" / "derive_found"
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()
    if content is None:
        os.mkfifo(folder / "config.json")
    else:
        (folder / "config.json").write_bytes(content)
    assert "--exp_name: logs/derive_found exists and is no study; give another name" in fail_command(command)


@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_where_a_study_belongs_is_no_study(fail_command, tmp_path, command, is_link):
    (tmp_path / "logs").mkdir()
    folder = tmp_path / "logs" / "derive_found"
    folder.symlink_to("nowhere") if is_link else folder.touch()
    assert "--exp_name: logs/derive_found exists and is no study; give another name" in fail_command(command)


def test_the_folder_of_a_study_is_told(type_command, tmp_path, command):
    command = command.replace("--topk 2 --seeds 2", "--topk 1")
    type_command(f"{command} --max_iter 1 --folder_file where")
    assert (tmp_path / "where").read_text() == "logs/derive_found\n"


def test_a_result_that_is_damaged_is_named_and_the_training_done_again_without_it(
    type_command, tmp_path, command
):
    command = command.replace("--topk 2 --seeds 2", "--topk 1")
    type_command(command)
    file = tmp_path / "logs" / "derive_found" / "rank_01_seed_24" / "results.json"
    whole = json.loads(file.read_text())
    for content in (
        '{"a', "[]", "{}", '{"failure": 3, "on_nan": "stop"}', '{"final": {}, "best": {}}', "[" * 100000
    ):  # fmt: skip
        file.write_text(content)
        with pytest.raises(
            UserError, match="^--load_path: .*/rank_01_seed_24/results.json is not the result"
        ):
            type_command(command)
    file.unlink()
    type_command(command)
    assert json.loads(file.read_text())["final"]["fid"] == whole["final"]["fid"]


def test_a_dry_run_lists_every_training(type_command, capsys, command):
    type_command(f"{command} --dry_run")
    resolved = json.loads(capsys.readouterr().out)
    assert [(each["rank"], each["seed"]) for each in resolved["trainings"]] == [
        (1, 24),
        (1, 25),
        (2, 24),
        (2, 25),
    ]
    assert resolved["trainings"][2]["architecture"] == RANKED[1]["architecture"]


# The table


def result(*scores):
    history = [{"is_mean": is_mean, "fid": fid} for is_mean, fid in scores]
    return {"history": history, "final": history[-1], "seconds": 1.0}


def table_rows():
    first = [
        training_row(1, "x", result((3.0, 50.0), (2.0, 60.0))),
        training_row(2, "y", result((4.0, 70.0), (5.0, 40.0))),
    ]
    second = [
        training_row(1, "z", result((9.0, 90.0), (3.0, 45.0))),
        training_row(2, "w", {"failure": "nan"}),
    ]
    third = [training_row(1, "v", {"failure": "nan"})]
    names = ("a", "b", "c")
    return [
        architecture_row({"architecture": name, "rank": rank}, trained)
        for rank, (name, trained) in enumerate(zip(names, (first, second, third)), 1)
    ]


def test_the_table_has_the_best_and_the_last_scores_with_their_spread():
    row = table_rows()[0]
    assert row["last"] == {
        "is": {"mean": 3.5, "spread": pytest.approx(2.1213, abs=1e-4)},
        "fid": {"mean": 50.0, "spread": pytest.approx(14.142, abs=1e-3)},
    }
    assert (row["best"]["is"]["mean"], row["best"]["fid"]["mean"]) == (4.0, 45.0)
    assert table_rows()[1]["last"]["is"] == {"mean": 3.0, "spread": None}


def test_rows_are_ranked_by_the_last_score_and_those_without_one_come_last(tmp_path):
    for rank_by, order, winner in (("is", "abc", "y"), ("fid", "bac", "z")):
        rows = ranked_rows(table_rows(), rank_by)
        assert "".join(row["architecture"] for row in rows) == order
        write_table(tmp_path, rows, rank_by, "inception")
        written = json.loads((tmp_path / "derive.json").read_text())
        assert written["winner"] == {"architecture": order[0], "folder": winner}
    lines = table_text(rows, "fid", "inception").splitlines()
    assert lines[0] == (
        "| rank | architecture | rank in the search | trainings | last IS | best IS | last FID | best FID |"
    )
    assert lines[2] == "| 1 | b | 2 | 2, 1 failed | 3.00 | 9.00 | 45.00 | 45.00 |"
    assert lines[3] == "| 2 | a | 1 | 2 | 3.50 +- 2.12 | 4.00 +- 1.41 | 50.00 +- 14.14 | 45.00 +- 7.07 |"
