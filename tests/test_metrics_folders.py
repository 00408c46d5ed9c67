"""`python -m utils.metrics`: two folders of images scored against each other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from utils.cli import run_script
from utils.inception.feature_net import load_feature_net
from utils.metrics.__main__ import main
from utils.metrics.distances import frechet_distance, inception_score

pytest.importorskip("efficientnet_lite_pytorch")

ROOT = Path(__file__).resolve().parents[1]


def write_images(folder, count, seed, height=20, width=20):
    random = np.random.RandomState(seed)
    images = random.randint(0, 256, (count, height, width, 3), dtype=np.uint8)
    folder.mkdir()
    for number, image in enumerate(images):
        imageio.imwrite(folder / f"{number:03}.png", image)
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def command(tmp_path):
    folders = ["--real", tmp_path / "real", "--fake", tmp_path / "fake"]
    return ["utils.metrics", *folders, "--feature_net", "efficientnet-lite0", "--device", "cpu"]


@pytest.fixture
def score(tmp_path, monkeypatch, capsys):
    """score(*options) -> (exit code, stdout, stderr) of the tool, run in this process to save time."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", [*map(str, (*command(tmp_path), *options))])
        code = 0
        try:
            run_script(main)
        except SystemExit as ending:
            code = ending.code
        return code, *capsys.readouterr()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return run


def test_scores_are_those_of_the_formulas_on_the_stored_pixels(tmp_path):
    real, fake = write_images(tmp_path / "real", 16, seed=1), write_images(tmp_path / "fake", 12, seed=2)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-m", *command(tmp_path), "--json", "--splits", "3"]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    net = load_feature_net("efficientnet-lite0")
    (fake_features, logits), (real_features, _) = net(fake), net(real)
    statistics = [(x.double().mean(0), torch.cov(x.double().T)) for x in (fake_features, real_features)]
    assert found["fid"] == pytest.approx(frechet_distance(*statistics[0], *statistics[1]), rel=1e-4)
    assert (found["is_mean"], found["is_std"]) == pytest.approx(inception_score(logits, 3), rel=1e-4)
    assert found["num_fake"] == 12 and found["num_real"] == 16
    assert found["feature_net"] == "efficientnet-lite0"
    others = "kid_mean kid_std precision recall weights_sha256 data_sha256 fake_sha256"
    assert set(others.split()) <= found.keys()


def test_images_of_mixed_sizes_need_a_size(tmp_path, score):
    write_images(tmp_path / "real", 12, seed=1)
    write_images(tmp_path / "fake", 12, seed=2, width=24)
    code, _, message = score()
    assert code == 2 and message.count("\n") == 1
    assert message.startswith("error: --img_size: ") and "24x20" in message
    code, text, _ = score("--img_size", 16, "--metrics", "is", "swd")
    assert code == 0 and text.startswith("efficientnet-lite0 IS ") and ", SWD " in text


def test_the_sliced_wasserstein_distance_alone_needs_no_network(tmp_path, score):
    write_images(tmp_path / "real", 4, seed=1)
    write_images(tmp_path / "fake", 4, seed=2)
    code, text, _ = score("--feature_net", "inception", "--inception_path", "/nowhere", "--metrics", "swd")
    assert code == 0 and text.startswith("SWD ")


def test_torch_fidelitys_shuffle_can_be_had(tmp_path, score):
    write_images(tmp_path / "real", 12, seed=1)
    fake = write_images(tmp_path / "fake", 12, seed=2)
    _, logits = load_feature_net("efficientnet-lite0")(fake)
    isc = pytest.importorskip("torch_fidelity.metric_isc")
    expected = isc.isc_features_to_metric(logits, splits=3, shuffle=True, rng_seed=2020)
    _, text, _ = score("--json", "--metrics", "is", "--splits", 3, "--shuffle_seed", 2020)
    assert json.loads(text)["is_mean"] == pytest.approx(expected["inception_score_mean"], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--real", "/nowhere"), "--real"),
        (("--splits", 13), "--splits"),
        (("--splits", 0), "--splits"),
        (("--device", "gpu"), "--device"),
        (("--metrics", "swd", "--img_size", 4), "--metrics"),
        (("--inception_backend", "both"), "--feature_net"),
    ],
)
def test_mistakes_are_one_line_that_names_the_option(tmp_path, score, options, named):
    write_images(tmp_path / "real", 12, seed=1)
    write_images(tmp_path / "fake", 12, seed=2)
    code, text, message = score(*options)
    assert code == 2 and text == "" and message.startswith(f"error: {named}: ") and message.count("\n") == 1


def test_statistics_of_real_images_do_for_the_images(score, tmp_path):
    write_images(tmp_path / "real", 16, seed=1)
    write_images(tmp_path / "fake", 12, seed=2)
    code, expected, _ = score("--json", "--splits", "3")
    (cached,) = (tmp_path / "cache" / "autogan").glob("real-*.npz")
    with_features, without = tmp_path / "with.npz", tmp_path / "without.npz"
    shutil.copy(cached, with_features)
    with np.load(cached) as arrays:
        np.savez(without, mu=arrays["mu"], sigma=arrays["sigma"])
    first, expected = (
        json.loads(score("--json", "--splits", "3", "--real", with_features)[1]),
        json.loads(expected),
    )
    names = ("is_mean", "fid", "kid_mean", "precision", "recall")
    assert [first[name] for name in names] == [expected[name] for name in names]
    second = json.loads(score("--json", "--splits", "3", "--real", without)[1])
    assert second["fid"] == expected["fid"] and second["kid_mean"] is None
    for metric, words in (
        ("kid", "--metrics: kid and precision_recall need"),
        ("swd", "--metrics: swd needs images"),
    ):
        code, _, line = score("--metrics", metric, "--real", without)
        assert code == 2 and line.startswith(f"error: {words}") and line.count("\n") == 1
    code, _, line = score("--real", tmp_path / "nowhere.npz")
    assert code == 2 and line.startswith("error: --real: no file")
