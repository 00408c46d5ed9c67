"""This project's training and networks beside other implementations, and what that comparison notices."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import parity
import pytest
import torch
from running import ROOT
from torch import nn

import models.layers.resampled
import utils.training.adversarial
from models.autogan.blocks import NORMS, Cell

DATA = ROOT / "tests" / "data"
NETWORKS, TRAINING, PROGGAN = (
    DATA / name for name in ("autogan_reference.npz", "autogan_training.npz", "proggan_reference.npz")
)


def errors_of(path, name):
    """({output: error}, bound) of one case of a reference file."""
    (case,) = [case for case in parity.load_cases(path) if case.name == name]
    return case.errors(), case.bound


@pytest.mark.parametrize("way", ["plain", "fast"])
@pytest.mark.parametrize("training", ["search", "train"])
def test_training_gives_the_losses_weights_and_average_of_the_authors_own_loops(training, way):
    errors, bound = errors_of(TRAINING, f"{training} {way}")
    outputs = {"d_loss", "g_loss", "G", "D"}
    assert errors.keys() == (outputs if training == "search" else outputs | {"average"})
    assert bound == 1e-8 and all(error <= bound for error in errors.values()), errors


@pytest.mark.parametrize("network, largest", [("generator", 1e-12), ("discriminator", 1e-7)])
def test_a_growth_fades_in_as_in_another_implementation_of_proggan(network, largest):
    errors, bound = errors_of(PROGGAN, f"proggan {network}")
    assert errors.keys() == {"fade 0.1", "fade 0.7", "fade 1.0"}
    assert bound == largest and all(error <= bound for error in errors.values()), errors


# What would be noticed


def skips_in_another_order(monkeypatch):
    forward = Cell.forward

    def other(cell, x, features, *more):
        return forward(cell, x, features[::-1], *more)

    monkeypatch.setattr(Cell, "forward", other)


def no_instance_norm(monkeypatch):
    monkeypatch.setitem(NORMS, "instance", lambda channels: nn.Identity())


def another_epsilon_of_batch_norm(monkeypatch):
    monkeypatch.setitem(NORMS, "batch", partial(nn.BatchNorm2d, eps=1e-3))


def nearest_and_bilinear_exchanged(monkeypatch):
    upsample, exchanged = models.layers.resampled.upsample, {"nearest": "bilinear", "bilinear": "nearest"}

    def other(x, up, *how):
        return upsample(x, exchanged.get(up, up), *how)

    monkeypatch.setattr(models.layers.resampled, "upsample", other)


@pytest.mark.parametrize(
    "name, mistake",
    [
        ("gen_b", skips_in_another_order),
        ("gen_mixed", no_instance_norm),
        ("gen_mixed_train", another_epsilon_of_batch_norm),
        ("gen_a", nearest_and_bilinear_exchanged),
    ],
)
def test_another_network_exceeds_the_bound_by_orders_of_magnitude(monkeypatch, name, mistake):
    mistake(monkeypatch)
    errors, bound = errors_of(NETWORKS, name)
    assert min(errors.values()) > 1000 * bound, errors


def gradients_dropped_instead_of_zeroed(monkeypatch):
    zero_grad = torch.optim.Adam.zero_grad

    def other(adam, set_to_none):
        zero_grad(adam, set_to_none=True)

    monkeypatch.setattr(torch.optim.Adam, "zero_grad", other)


def average_of_another_decay(monkeypatch):
    update_average = utils.training.adversarial.update_average

    def other(average, network, decay):
        update_average(average, network, 0.99)

    monkeypatch.setattr(utils.training.adversarial, "update_average", other)


@pytest.mark.parametrize(
    "name, output, mistake",
    [("search", "G", gradients_dropped_instead_of_zeroed), ("train", "average", average_of_another_decay)],
)
def test_another_training_exceeds_the_bound_by_orders_of_magnitude(monkeypatch, name, output, mistake):
    mistake(monkeypatch)
    errors, bound = errors_of(TRAINING, f"{name} fast")
    assert errors[output] > 1000 * bound, errors


# The command


@pytest.fixture
def check(monkeypatch, capsys):
    """check(path) -> (exit code or message, lines) of `python tests/parity.py PATH`, run in this process."""

    def run(path):
        monkeypatch.setattr(sys, "argv", ["parity.py", str(path)])
        with pytest.raises(SystemExit) as ending:
            parity.main()
        return ending.value.code, capsys.readouterr().out.splitlines()

    return run


def changed(path, tmp_path, change):
    """A copy of a reference file in which `change` has changed the dict of arrays."""
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(tmp_path / "changed.npz", **arrays)
    return tmp_path / "changed.npz"


@pytest.mark.parametrize(
    "path, key, failing",
    [
        (NETWORKS, "dis_stage1::logits", {"dis_stage1"}),
        (TRAINING, "search::end/D/l5.weight", {"search plain", "search fast"}),
        (PROGGAN, "G/out_fade_0.7", {"proggan generator"}),
    ],
)
def test_one_wrong_value_in_a_file_of_any_form_fails_its_case_alone(check, tmp_path, path, key, failing):
    def change(arrays):
        arrays[key].flat[0] += 3e-5 * abs(arrays[key]).max()

    for file, code, expected in ((path, 0, set()), (changed(path, tmp_path, change), 1, failing)):
        ending, lines = check(file)
        verdicts = {line[5:].split("  ")[0]: line[:4] for line in lines}
        assert ending == code and verdicts.keys() == {case.name for case in parity.load_cases(path)}
        assert {name for name, verdict in verdicts.items() if verdict == "FAIL"} == expected


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda arrays: arrays.pop("gen_b::z"), "gen_b lacks 'z'"),
        (lambda arrays: arrays.update({"other::z": arrays.pop("gen_b::z")}), "other is none of"),
        (lambda arrays: arrays.update({"gen_a::images": np.zeros((3, 3, 8, 8))}), "(3, 3, 8, 8)"),
        (lambda arrays: arrays.pop("gen_a::w/l1.bias"), "missing ['linear.bias']"),
        (dict.clear, "holds no case"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(check, tmp_path, change, message):
    code, _ = check(changed(NETWORKS, tmp_path, change))
    assert code.startswith("error: FILE: ") and message in code and "\n" not in code


def test_a_file_of_another_kind_is_one_line(check):
    assert check(__file__)[0].startswith("error: FILE: give a reference file")


def test_the_verdict_is_the_same_with_the_instructions_of_an_older_processor_and_more_threads():
    """In float32 one gradient would be off by half a percent there, or here."""
    older = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, ROOT / "tests" / "parity.py", NETWORKS]
    done = subprocess.run(command, env=os.environ | older, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(line.startswith("ok ") for line in done.stdout.splitlines()) == 14
