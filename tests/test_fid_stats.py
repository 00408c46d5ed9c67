"""Statistics of real images: computed once, cached, written, read from other people's files."""

import dataclasses
import io
import os
from pathlib import Path
import sys
import zipfile
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from running import TinyNet

import utils.metrics.real_statistics
from models_search.retraining.materials import read_materials
from utils.cli import UserError, run_script, warn
from utils.data.load import load_images
from utils.fid_stats import main
from utils.metrics.generator import load_real_statistics
from utils.metrics.real_statistics import RealStatistics, load_fid_stat, real_statistics, save_statistics


class CountingNet:
    """A feature network that counts its calls."""

    name, backend, feature_dim, num_classes, device = "counting", "torch", 6, 3, torch.device("cpu")

    def __init__(self, weights_sha256="w"):
        self.weights_sha256, self.calls = weights_sha256, 0

    def __call__(self, images):
        self.calls += 1
        features = images.flatten(1)[:, :6].float() / 255
        return features, features[:, :3]


class StoredImages:
    """The part of ResizedImages that statistics use."""

    def __init__(self, count=50, seed=0, name="stored"):
        random = torch.Generator().manual_seed(seed)
        self.tensor = torch.randint(0, 256, (count, 3, 4, 4), generator=random).to(torch.uint8)
        self.num_images, self.resolution, self.name, self.split = count, 4, name, "train"

    def sha256(self):
        return f"sum {self.tensor.long().sum()}"

    def batches(self, order, batch_size):
        return (self.tensor[rows] for rows in order.split(batch_size))


def expected_features(images):
    return images.tensor.flatten(1)[:, :6].numpy().astype(np.float32) / np.float32(255)


def test_statistics_are_numpys_mean_and_covariance(tmp_path):
    images = StoredImages()
    found = real_statistics(images, CountingNet(), cache_dir=tmp_path, batch_size=7, sample_size=20)
    features = expected_features(images).astype(np.float64)
    np.testing.assert_allclose(found.mu, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.sigma, np.cov(features, rowvar=False), rtol=1e-10, atol=1e-15)
    assert found.sample.shape == (20, 6)
    assert {tuple(row) for row in found.sample} <= {tuple(row) for row in expected_features(images)}
    assert (found.num_images, found.data, found.feature_net) == (50, "stored", "counting")
    assert found.data_sha256 == images.sha256()


def test_statistics_are_computed_once(tmp_path):
    first = real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path, sample_size=50)
    net = CountingNet()
    again = real_statistics(StoredImages(name="renamed"), net, cache_dir=tmp_path)
    with_sample = real_statistics(StoredImages(), net, cache_dir=tmp_path, sample_size=50)
    assert net.calls == 0
    assert np.array_equal(again.mu, first.mu) and np.array_equal(again.sigma, first.sigma)
    assert again.data == "renamed"
    assert np.array_equal(with_sample.sample, first.sample)


def test_other_images_weights_or_samples_are_not_taken_from_the_cache(tmp_path):
    real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path)
    for images, net, sample_size in (
        (StoredImages(seed=1), CountingNet(), 0), (StoredImages(count=49), CountingNet(), 0),
        (StoredImages(), CountingNet("other"), 0), (StoredImages(), CountingNet(), 20),
    ):  # fmt: skip
        real_statistics(images, net, cache_dir=tmp_path, sample_size=sample_size)
        assert net.calls == 1


def test_a_damaged_cache_file_is_computed_anew(tmp_path):
    expected = real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"sigma.npy") + 200] ^= 1
    for damaged in (b"", whole[: len(whole) // 2], b"<html>", bytes(flipped)):
        path.write_bytes(damaged)
        net = CountingNet()
        found = real_statistics(StoredImages(), net, cache_dir=tmp_path)
        assert net.calls == 1 and np.array_equal(found.sigma, expected.sigma)
        assert path.read_bytes() != damaged


def test_the_users_cache_folder_is_respected(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real_statistics(StoredImages(), CountingNet())
    assert [path.suffix for path in (tmp_path / "autogan").iterdir()] == [".npz"]


def test_a_cache_that_cannot_be_written_only_warns(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path / "file" / "below")
    assert "warning: the statistics" in capsys.readouterr().err


def test_written_statistics_are_read_back_with_their_provenance(tmp_path):
    statistics = real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path / "cache", sample_size=10)
    save_statistics(statistics, tmp_path / "new" / "stat.npz")
    found = load_fid_stat(tmp_path / "new" / "stat.npz", 6, "counting")
    assert found.provenance() == statistics.provenance()
    assert all(
        np.array_equal(getattr(found, name), getattr(statistics, name)) for name in ("mu", "sigma", "sample")
    )
    with pytest.raises(UserError, match="made with the network counting"):
        load_fid_stat(tmp_path / "new" / "stat.npz", 6, "inception")


class InterruptedNet(CountingNet):
    """Ctrl-C at its fourth call."""

    def __call__(self, images):
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().__call__(images)


@pytest.mark.parametrize("batch_size, calls", [(10, 2), (5, 10)])
def test_interrupted_statistics_go_on_unless_their_batches_have_another_size(
    tmp_path, monkeypatch, batch_size, calls
):
    monkeypatch.setattr(utils.metrics.real_statistics, "SECONDS_PER_SAVE", -1)
    folder, net = tmp_path / "not yet" / "there", CountingNet()
    with pytest.raises(KeyboardInterrupt):
        real_statistics(StoredImages(), InterruptedNet(), cache_dir=folder, batch_size=10, sample_size=20)
    assert [path.name.endswith("-20-partial.pth") for path in folder.glob("real-*partial.pth")] == [True]
    found = real_statistics(StoredImages(), net, cache_dir=folder, batch_size=batch_size, sample_size=20)
    assert net.calls == calls
    whole = real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path, batch_size=10, sample_size=20)
    np.testing.assert_allclose(found.mu, whole.mu, rtol=1e-14)
    np.testing.assert_allclose(found.sigma, whole.sigma, rtol=1e-12, atol=1e-15)
    assert np.array_equal(found.sample, whole.sample)
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


def test_statistics_of_a_file_are_refused_for_another_network(tmp_path):
    statistics = real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path / "cache")
    save_statistics(statistics, tmp_path / "stat.npz")
    other = CountingNet()
    (found,) = load_real_statistics([other], None, fid_stat=tmp_path / "stat.npz")
    assert np.array_equal(found.mu, statistics.mu)
    other.name = "other"
    with pytest.raises(UserError, match="made with the network counting, the images are scored with other"):
        load_real_statistics([other], None, fid_stat=tmp_path / "stat.npz")
    for asked in ({"data": "other"}, {"split": "test"}, {"resolution": 99}):
        with pytest.raises(UserError, match="^--fid_stat: .* was made with"):
            load_real_statistics([CountingNet()], None, fid_stat=tmp_path / "stat.npz", **asked)
    with pytest.raises(UserError, match="holds no features"):
        load_real_statistics([CountingNet()], None, fid_stat=tmp_path / "stat.npz", sample_size=5)


@pytest.mark.parametrize(
    "name, words", [("data", "data set"), ("split", "split"), ("resolution", "resolution")]
)
def test_statistics_of_what_is_not_asked_for_are_refused(tmp_path, name, words):
    statistics = real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path / "cache")
    save_statistics(statistics, tmp_path / "stat.npz")
    own = {each: getattr(statistics, each) for each in ("data", "split", "resolution")}
    assert None not in own.values()
    load_fid_stat(tmp_path / "stat.npz", 6, "counting", **own)
    other = 99 if name == "resolution" else "other"
    message = f"made with the {words} {own[name]}, the images are scored with {other}; make a file with the same {words}"
    with pytest.raises(UserError, match=message):
        load_fid_stat(tmp_path / "stat.npz", 6, "counting", **own | {name: other})


@pytest.mark.parametrize(
    "name, other", [("data", "MNIST"), ("split", "test"), ("resolution", 16), (None, None)]
)
def test_a_training_refuses_statistics_of_other_images_than_it_learns_from(tmp_path, name, other):
    digits, net = load_images("digits"), TinyNet()
    statistics = real_statistics(digits.resized(8, num_workers=0), net, cache_dir=tmp_path / "cache")
    path, data = tmp_path / "stat.npz", SimpleNamespace(dataset="digits", img_size=8, num_workers=0)
    save_statistics(dataclasses.replace(statistics, **({name: other} if name else {})), path)
    if name:
        with pytest.raises(UserError, match=f"--fid_stat: .* was made with the .* {other}, the images are"):
            read_materials([net], digits, data, path, torch.device("cpu"))
    else:
        (real,) = read_materials([net], digits, data, path, torch.device("cpu")).reals
        assert np.array_equal(real.mu, statistics.mu)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_files_of_ttur_and_of_the_authors_are_read_as_they_are(tmp_path, save, kind):
    features = np.random.RandomState(0).randn(100, 6)
    mu, sigma = features.mean(0).astype(kind), np.cov(features, rowvar=False).astype(kind)
    save(tmp_path / "fid_stats_cifar10_train.npz", mu=mu, sigma=sigma)
    found = load_fid_stat(tmp_path / "fid_stats_cifar10_train.npz", 6, "inception")
    assert isinstance(found, RealStatistics) and found.mu.dtype == found.sigma.dtype == np.float64
    assert np.array_equal(found.mu, mu) and np.array_equal(found.sigma, sigma)
    assert found.sample is None and found.num_images is None and found.feature_net is None
    assert found.data == "fid_stats_cifar10_train.npz"


GOOD = {"mu": np.zeros(6), "sigma": np.eye(6)}
LOPSIDED = np.eye(6) + np.eye(6, k=1)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(6)}, "sigma is missing"),
        ({"m": np.zeros(6), "s": np.eye(6)}, "mu is missing"),
        (GOOD | {"mu": np.zeros(7)}, "mu has the shape"),
        (GOOD | {"mu": np.zeros((1, 6))}, "mu has the shape"),
        (GOOD | {"sigma": np.eye(7)}, "sigma has the shape"),
        (GOOD | {"sigma": np.zeros(6)}, "sigma has the shape"),
        (GOOD | {"mu": np.full(6, np.nan)}, "not finite"),
        (GOOD | {"sigma": np.full((6, 6), np.inf)}, "not finite"),
        (GOOD | {"sigma": LOPSIDED}, "no covariance"),
        (GOOD | {"sigma": -np.eye(6)}, "no covariance"),
        (GOOD | {"mu": np.array(list("abcdef"))}, "floats are needed"),
        (GOOD | {"sigma": np.eye(6) * 1j}, "floats are needed"),
        (GOOD | {"mu": np.array([Harmful()] * 6, dtype=object)}, "floats are needed"),
        (GOOD | {"provenance": np.array("no JSON")}, "not a sound"),
        (GOOD | {"provenance": np.array("[1]")}, "not a sound"),
        (
            GOOD | {"provenance": np.array("{}"), "sample": np.zeros((3, 5), np.float32)},
            "sample has the shape",
        ),
    ],
)
def test_broken_statistics_are_refused_with_the_cause(tmp_path, monkeypatch, arrays, message):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "stat.npz", **arrays)
    with pytest.raises(UserError, match=f"^--fid_stat: .*{message}"):
        load_fid_stat(tmp_path / "stat.npz", 6)
    assert not (tmp_path / "executed").exists()


def npy_bytes(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def huge_member():
    """An .npz whose mu says it has 10^12 values."""
    header = npy_bytes(np.zeros(6)).replace(b"(6,), }" + b" " * 12, b"(1000000000000,), }")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mu.npy", header)
        archive.writestr("sigma.npy", npy_bytes(np.eye(6)))
    return content.getvalue()


def cut_file():
    content = io.BytesIO()
    np.savez(content, **GOOD)
    return content.getvalue()[:-100]


NO_STATISTICS = {
    "empty": b"",
    "web page": b"<html>not found</html>",
    "npy": npy_bytes(np.eye(6)),
    "pickle": b"\x80\x04N.",
    "huge": huge_member(),
    "cut": cut_file(),
    "empty zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("kind", NO_STATISTICS)
def test_files_that_are_no_statistics_are_refused(tmp_path, kind):
    (tmp_path / "stat.npz").write_bytes(NO_STATISTICS[kind])
    with pytest.raises(UserError, match="^--fid_stat: "):
        load_fid_stat(tmp_path / "stat.npz", 6)


def test_files_that_cannot_be_opened_are_refused(tmp_path):
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(UserError, match="^--fid_stat: (no file .*|.* is not a regular file); make one"):
            load_fid_stat(path, 6)


# The command line


def run_tool(monkeypatch, capsys, *arguments):
    """(exit code, stderr) of the tool, run in this process to save time."""
    monkeypatch.setattr(sys, "argv", ["fid_stats", *map(str, arguments)])
    code = 0
    try:
        run_script(main)
    except SystemExit as ending:
        code = ending.code
    return code, capsys.readouterr().err


def test_the_tool_writes_statistics_of_a_folder(tmp_path, monkeypatch, capsys):
    pytest.importorskip("efficientnet_lite_pytorch")
    random = np.random.RandomState(0)
    (tmp_path / "images").mkdir()
    for number in range(12):
        imageio.imwrite(
            tmp_path / "images" / f"{number}.png", random.randint(0, 256, (16, 16, 3), dtype=np.uint8)
        )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = ("--dataset", "folder", "--data_path", tmp_path / "images", "--img_size", 16)
    network = ("--feature_net", "efficientnet-lite0", "--device", "cpu")
    output = ("--output", tmp_path / "out" / "stat.npz")
    assert run_tool(monkeypatch, capsys, *data, *network, *output) == (0, "")
    found = load_fid_stat(tmp_path / "out" / "stat.npz", 1280, "efficientnet-lite0")
    assert (found.num_images, found.data, found.split, found.resolution) == (12, "images", "train", 16)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--dataset", "folder", "--output", "stat.txt"), "--output"),
        (("--dataset", "folder", "--data_path", "/nowhere", "--output", "new/stat.npz"), "--data_path"),
        (("--dataset", "digits", "--output", "/dev/null/new/stat.npz"), "--output"),
    ],
)
def test_the_tools_mistakes_are_one_line_that_names_the_option(
    tmp_path, monkeypatch, capsys, arguments, option
):
    monkeypatch.chdir(tmp_path)
    code, message = run_tool(monkeypatch, capsys, *arguments)
    assert code == 2 and message.startswith(f"error: {option}: ") and message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_variance_below_zero_by_rounding_is_none(tmp_path):
    sigma = np.diag([1.0, 1, 1, 1, 1, -1e-17])
    np.savez(tmp_path / "a.npz", mu=np.zeros(6), sigma=sigma)
    assert load_fid_stat(tmp_path / "a.npz", 6).sigma[5, 5] == -1e-17
    np.savez(tmp_path / "a.npz", mu=np.zeros(6), sigma=np.diag([1.0, 1, 1, 1, 1, -1e-3]))
    with pytest.raises(UserError, match="negative variance"):
        load_fid_stat(tmp_path / "a.npz", 6)


def test_statistics_in_a_pipe_are_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UserError, match="^--fid_stat: .*pipe.npz is not a regular file"):
        load_fid_stat(tmp_path / "pipe.npz", 6)


def test_without_a_home_the_statistics_are_computed_with_a_warning(monkeypatch, capsys):
    warn.cache_clear()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where HOME and the user are unknown
    net = CountingNet()
    assert real_statistics(StoredImages(), net).num_images and net.calls == 1
    assert "warning: there is no cache for the statistics of the real images" in capsys.readouterr().err


def test_a_cache_that_cannot_be_read_only_warns(tmp_path, monkeypatch, capsys):
    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    warn.cache_clear()
    monkeypatch.setattr(Path, "is_file", refuse)
    assert real_statistics(StoredImages(), CountingNet(), cache_dir=tmp_path).num_images
    assert "Permission denied" in capsys.readouterr().err
