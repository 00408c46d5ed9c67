"""Checkpoints: whole or not at all, noticed when damaged, harmless when hostile; the authors' files."""

import os
import pickle
import sys
from collections import OrderedDict

from pathlib import Path

import numpy as np
import pytest
import torch
from parity import generator_weight_name

import utils.run.checkpoint
from models.autogan.architecture import Architecture, ArchitectureError
from models.autogan.authors import our_name, rename
from models.autogan.networks import Generator
from models_search.shared_gan.network import shared_generator
from utils.run.checkpoint import (
    DamagedCheckpoint,
    load_checkpoint,
    load_latest,
    read_authors_weights,
    save_checkpoint,
)
from utils.cli import UserError
from utils.run.files import write_json

STATE = {
    "network": {"weight": torch.randn(40, 9)},
    "step": 7,
    "best": None,
    "history": [{"fid": 1.5}],
    "shape": (1, 2),
    "empty": torch.zeros(0),
}


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pth", STATE)
    state = load_checkpoint(tmp_path / "checkpoint.pth")
    assert torch.equal(state["network"]["weight"], STATE["network"]["weight"])
    assert {name: state[name] for name in ("step", "best", "history", "shape")} == {
        name: STATE[name] for name in ("step", "best", "history", "shape")
    }
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_no_damage_is_loaded(tmp_path):
    """Cut anywhere or with any bit flipped: refused, or (in the archive's own bookkeeping) without effect."""
    save_checkpoint(tmp_path / "good.pth", STATE)
    good, rng, refused = (tmp_path / "good.pth").read_bytes(), np.random.default_rng(0), 0
    damaged = [good[:length] for length in np.linspace(0, len(good) - 1, 12, dtype=int)]
    for _ in range(100):
        flipped = bytearray(good)
        flipped[rng.integers(len(good))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / "bad.pth").write_bytes(content)
        try:
            assert torch.equal(
                load_checkpoint(tmp_path / "bad.pth")["network"]["weight"], STATE["network"]["weight"]
            )
        except DamagedCheckpoint:
            refused += 1
    assert refused >= 80


def test_a_changed_value_is_noticed(tmp_path):
    save_checkpoint(tmp_path / "a.pth", STATE)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    content["state"]["step"] = 8
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DamagedCheckpoint, match="sha256"):
        load_checkpoint(tmp_path / "a.pth")


# Pairs of states of the same bytes, or nearly: what tells them apart is part of the digest.
LIKE = [
    (torch.zeros(2, 6), torch.zeros(6, 2)),
    (torch.zeros(4), torch.zeros(2, 2)),
    (torch.zeros(4), torch.zeros(4, dtype=torch.int32)),
    (torch.zeros(4), torch.zeros(2, dtype=torch.float64)),
    (torch.zeros(0), torch.zeros(0, 3)),
    (torch.tensor([0.0]), torch.tensor([-0.0])),
    ([1, 2], (1, 2)),
    ([[1], 2], [[1, 2]]),
    ([], ()),
    ([], {}),
    ({"a": {"b": 1}, "c": 2}, {"a": {"b": 1, "c": 2}}),
    ({"a": 1, "b": 1}, {"a": 1, "c": 1}),
    ({"1": 2}, {1: 2}),
    (1, 1.0),
    (1, True),
    (None, "None"),
    ("1", 1),
]


@pytest.mark.parametrize("first, second", LIKE)
def test_states_that_are_alike_have_other_digests(tmp_path, first, second):
    for written, read in ((first, second), (second, first)):
        save_checkpoint(tmp_path / "a.pth", {"part": written})
        content = torch.load(tmp_path / "a.pth", weights_only=True)
        load_checkpoint(tmp_path / "a.pth")
        content["state"]["part"] = read
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(DamagedCheckpoint, match="sha256"):
            load_checkpoint(tmp_path / "a.pth")


def save_small(path):
    save_checkpoint(path, {"step": 1})


@pytest.mark.parametrize("write", [save_small, lambda path: write_json(path, {"step": 1})])
def test_a_file_is_whole_on_the_disk_before_it_gets_its_name_and_its_name_before_the_end(
    tmp_path, monkeypatch, write
):
    """A power cut keeps what was synchronised, so the order of these calls is what a whole file depends on."""
    calls, path = [], tmp_path / "checkpoint.pth"
    names = {path: "file", path.with_name("checkpoint_previous.pth"): "previous"}
    replace = os.replace

    def synchronised(descriptor):
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append(("sync", "folder" if place == tmp_path else place.stat().st_size))

    def renamed(source, target):
        calls.append((names.get(Path(source), "part"), names[Path(target)]))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synchronised)
    monkeypatch.setattr(os, "replace", renamed)
    write(path)
    write(path)
    whole = ("sync", path.stat().st_size)
    first, second = (
        [("part", "file"), ("sync", "folder")],
        [("file", "previous"), ("part", "file"), ("sync", "folder")],
    )
    assert calls == [whole, *first, whole, *(second if write is save_small else first)]


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(utils.run.checkpoint, "FORMAT", 1)
    save_checkpoint(tmp_path / "a.pth", STATE)
    monkeypatch.undo()
    with pytest.raises(DamagedCheckpoint, match="has format 1, this version reads 2"):
        load_checkpoint(tmp_path / "a.pth")


def test_only_tensors_and_built_in_types_are_saved(tmp_path):
    with pytest.raises(TypeError, match="not ndarray"):
        save_checkpoint(tmp_path / "a.pth", {"array": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_the_previous_checkpoint_stands_in_for_a_damaged_one(tmp_path):
    path = tmp_path / "checkpoint.pth"
    for step in (1, 2, 3):
        save_checkpoint(path, {"step": step})
    path.write_bytes(path.read_bytes()[:100])
    assert load_latest(tmp_path) == ({"step": 2}, tmp_path / "checkpoint_previous.pth")


def test_where_no_checkpoint_is_whole_the_newest_ones_damage_is_told_by_the_options_name(tmp_path):
    with pytest.raises(UserError) as error:
        load_latest(tmp_path, "--x")
    cure = "give the folder of a run that wrote one"
    assert str(error.value) == f"--x: no checkpoint in {tmp_path}; {cure}"
    (tmp_path / "checkpoint_previous.pth").write_bytes(b"previous")
    (tmp_path / "checkpoint.pth").write_bytes(b"newest")
    with pytest.raises(DamagedCheckpoint) as error:
        load_latest(tmp_path, "--x")
    assert str(error.value).startswith(f"--x: {tmp_path / 'checkpoint.pth'} ")


def test_a_full_disk_leaves_the_old_checkpoint_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pth"
    save_checkpoint(path, {"step": 1})

    def full_disk(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pth"]


class Hostile:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_something_is_refused(tmp_path, zipped):
    mark = tmp_path / "executed"
    hostile = [
        (os.system, f"touch {mark}"),
        (eval, f"open({str(mark)!r}, 'w')"),
        (open, str(mark), "w"),
        (sys.exit, 0),
    ]
    for function, *arguments in hostile:
        for content in (
            {"format": 1, "sha256": "", "state": Hostile(function, *arguments)},
            {"l1.weight": Hostile(function, *arguments)},
        ):
            path = tmp_path / "hostile.pth"
            if zipped:
                torch.save(content, path)
            else:
                path.write_bytes(pickle.dumps(content))
            for load in (load_checkpoint, read_authors_weights):
                with pytest.raises(UserError):
                    load(path)
    assert not mark.exists()


def authors_published_names(architecture, state):
    """A published generator's state dict as the authors' code names it (the inverse of the loader, written
    independently).
    """
    names = OrderedDict()
    for name, tensor in state.items():
        for ours, theirs in (("linear.", "l1."), ("first.pre.conv", "c1"), ("second.pre.conv", "c2"), ("first.pre.norm.batch", "n1"),
                             ("second.pre.norm.batch", "n2"), ("shortcut.", "c_sc."), ("skip.", "skip_in_ops.")):  # fmt: skip
            name = name.replace(ours, theirs)
        for level in range(3):
            name = name.replace(f"cells.{level}.", f"cell{level + 1}.")
        names[name] = tensor
    return names


@pytest.mark.parametrize("published", ["autogan_cifar10_a", "autogan_cifar10_b", "autogan_cifar10_c"])
@pytest.mark.parametrize("old_format", [False, True])
def test_the_authors_released_files_load(tmp_path, published, old_format):
    architecture = Architecture.parse(published)
    generator = Generator.of(architecture, latent_dim=8, gf_dim=4).eval()
    theirs = authors_published_names(architecture, generator.state_dict())
    assert (
        "cell2.skip_in_ops.0.weight" in theirs
        and "cell1.c_sc.weight" in theirs
        and "to_rgb.0.weight" in theirs
    )
    whole = {
        "epoch": 320,
        "avg_gen_state_dict": theirs,
        "best_fid": np.float64(12.42),
        "scores": np.float32(8.55),
    }
    wrapped = {f"module.{name}": tensor for name, tensor in theirs.items()}  # by DataParallel
    for content in (theirs, whole, wrapped, {"avg_gen_state_dict": wrapped}):
        torch.save(content, tmp_path / "released.pth", _use_new_zipfile_serialization=not old_format)
        again = Generator.from_state(
            architecture, rename(read_authors_weights(tmp_path / "released.pth"))
        ).eval()
        z = torch.randn(2, 8)
        assert torch.equal(again(z), generator(z))


@pytest.mark.parametrize("told", ["autogan_cifar10_a", "autogan_cifar10_c", "1 0 1 1 | 1 0 1 1 1"])
def test_a_released_file_is_not_loaded_as_a_network_that_leaves_weights_over(tmp_path, told):
    """Of b's weights each of these uses but a part, and would be scored as if it were b."""
    published = Architecture.parse("autogan_cifar10_b")
    torch.save(
        authors_published_names(published, Generator.of(published, latent_dim=8, gf_dim=4).state_dict()),
        tmp_path / "b.pth",
    )
    with pytest.raises(ArchitectureError, match="weights are not of architecture 1 .*key"):
        Generator.from_state(Architecture.parse(told), rename(read_authors_weights(tmp_path / "b.pth")))


def test_a_derived_generator_takes_what_it_uses_of_a_shared_ones_weights():
    shared = shared_generator(3, latent_dim=4, gf_dim=2, bottom_width=2).eval()
    architecture, z = Architecture.parse("autogan_cifar10_a"), torch.randn(2, 4)
    assert torch.equal(
        Generator.from_state(architecture, shared.state_dict()).eval()(z), shared(z, architecture)
    )


def test_a_shared_generator_trained_by_the_authors_code_loads_as_a_derived_one():
    """Their train_derived.py saves the whole shared generator; what the architecture uses is taken from it."""
    theirs = [
        "l1.weight", "cell1.post_conv1.deconv.weight", "cell1.pre_conv1.bn.running_mean", "cell2.post_conv2.conv.bias",
        "cell2.deconv_sc.weight", "cell2.skip_deconvx2.weight", "cell3.skip_deconvx4.1.bias",
        "cell3.skip_deconvx2.weight", "cell3.skip_in_ops.1.weight", "cell3.c_sc.bias",
        "to_rgb.2.weight",
    ]  # fmt: skip
    ours = shared_generator(3, latent_dim=4, gf_dim=2, bottom_width=2).state_dict()
    names = [our_name(name) for name in theirs]
    assert len(set(names)) == len(theirs) and all(name in ours for name in names), set(names) - set(ours)
    assert our_name("cell3.skip_deconvx2.weight") == "cells.2.skip_up.1.0.weight"


def test_reference_names_and_released_names_agree():
    reference_name = generator_weight_name(Architecture.parse("autogan_cifar10_c"))
    for reference, released in (("cell1.conv1.weight", "cell1.c1.weight"), ("cell1.norm2.bias", "cell1.n2.bias"),
                                ("cell3.skip2.weight", "cell3.skip_in_ops.1.weight"), ("to_rgb.conv.bias", "to_rgb.2.bias")):  # fmt: skip
        assert reference_name(reference) == our_name(released)
