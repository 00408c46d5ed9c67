"""Numbers that no run can work with, options that do not go together, and files that are none.

Each ends in one line that names the option, with exit code 2, before data are read; nothing is left behind.
"""

import argparse
import dataclasses
import json
import os

import numpy as np
import pytest
import torch

import cfg
from option_groups.shared import CellOptions
from option_groups.training import TrainingOptions
from models.autogan.architecture import Architecture
from models.families import FAMILIES
from models.growing.architecture import proggan_architecture
from models.growing.networks import growing_networks, parameter_counts
from models_search.dggan.plan import make_plan
from option_groups.scripts import GROUPS
from utils.cli import UserError, run_script
from utils.metrics import __main__ as metrics
from utils.metrics.real_statistics import load_fid_stat
from utils.option_types import LARGEST, number
from utils.run.files import open_regular
from utils.run.machine import pick_device
from utils.training.memory import Memory, on_meta, sampling_memory, scoring_memory, training_memory

DRY = {"search": "search --dry_run", "train": "train_derived --gen_model sngan --dry_run"}
DRY |= {"dggan": "search --method dggan --dry_run", "test": "test --gen_model sngan --dry_run"}
TOO_LARGE = [  # a script, options, and the option that is blamed
    ("search", "--gf_dim 99999999999999999999", "--gf_dim: must be at most 1048576"),
    ("search", "--gf_dim 1048576", "GiB"),
    ("search", "--df_dim 500000", "--gf_dim, --df_dim, --latent_dim, --bottom_width: the run takes"),
    ("search", "--latent_dim 1048576 --gf_dim 1048576 --bottom_width 8192 --img_size 16384 --grow_steps", "no memory holds"),
    ("search", "--img_size 16384 --grow_steps 1 2 3 4 5 6 7 8 9 10 11", "--grow_steps: 12 cells are too many"),
    ("search", "--img_size 2199023255552", "--img_size: must be at most 16384"),
    ("search", "--hid_size 1000000000", "--hid_size: must be at most"),
    ("search", "--hid_size 100000", "--hid_size: the run takes"),
    ("search", "--hid_size 20000 --num_candidate 1000000", "--num_candidate: the run takes"),
    ("search", "-gen_bs 100000000000", "--gen_batch_size: must be at most 2147483647"),
    ("search", "-gen_bs 1000000", "--gen_batch_size: the run takes"),
    ("search", "-dis_bs 2147483647", "--dis_batch_size: the run takes"),
    ("search", "--eval_batch_size 10000000", "--eval_batch_size: the run takes"),
    ("search", "--random_seed 99999999999999999999", "--random_seed: must be at most"),
    ("search", "--g_lr 1e300", "--g_lr: must be at most"),
    ("search", "--is_splits 20000 --rl_num_eval_img 30000", "--is_splits: must be at most"),
    ("dggan", "--workers 1000000", "--workers: must be at most 1024"),
    ("dggan", "--growth_width 99999999999", "--growth_width: must be at most"),
    ("dggan", "--growth_width 100000", "--growth_width, --filters, --latent_dim: the run takes"),
    ("dggan", "--filters 900000", "GiB"),
    ("dggan", "--kernels 9999999", "--kernels: must be at most 99"),
    ("dggan", "--img_size 16384 --growing_steps 20", "GiB"),
    ("dggan", "--growing_steps 501", "--growing_steps: must be at most 500"),
    ("search", "--method slas --hid_size 200000", "--hid_size: the run takes"),
    ("search", "--method random_sharing -gen_bs 10000000", "--gen_batch_size: the run takes"),
    ("search", "--method asha -gen_bs 10000000", "--gen_batch_size: the run takes"),
    ("search", "--method asha --gf_dim 1048576", "GiB"),
    ("train", "--max_epoch 99999999999999999999", "--max_epoch: must be at most 1000000"),
    ("train", "--max_iter 99999999999999999999", "--max_iter: must be at most"),
    ("train", "--bottom_width 2048 --img_size 16384", "GiB"),
    ("train", "-gen_bs 10000000", "--gen_batch_size: the run takes"),
    ("test", "--num_eval_imgs 99999999999999999999", "--num_eval_imgs: must be at most"),
    ("test", "--eval_batch_size 100000000", "--eval_batch_size: the run takes"),
]  # fmt: skip


@pytest.mark.parametrize("script, options, words", TOO_LARGE, ids=lambda value: value[:40])
def test_a_size_that_nothing_can_hold_is_refused_though_nothing_would_run(
    fail_command, script, options, words
):
    assert words in fail_command(f"{DRY[script]} {options}")


def test_every_number_has_bounds():
    fields = [field for group in GROUPS.values() for field in dataclasses.fields(group)]
    kinds = {int: 10**30, float: 1e300, tuple[int, ...]: 10**30}
    numbers = [field for field in fields if field.type in kinds]
    assert len(numbers) > 40
    for field in numbers:
        kind = float if field.type is float else int
        for value in (kinds[field.type], -kinds[field.type]):
            with pytest.raises(argparse.ArgumentTypeError, match="must be (at|more)"):
                number(kind, **field.metadata["bounds"])(str(value))


def test_a_number_of_any_length_is_refused_in_a_line(fail_command):
    for digits in (400, 5000):
        line = fail_command(f"search --gf_dim {'9' * digits}")
        assert line.startswith("error: --gf_dim:") and len(line) < 2100
    assert LARGEST[int] == 2**31 - 1


TOGETHER = [
    ("test --gen_model sngan --metrics precision_recall --num_eval_imgs 3 --is_splits 1", "--metrics: precision_recall takes 4"),
    ("test --arch 1 0 1 1 --bottom_width 3 --img_size 6 --metrics swd", "--metrics: swd compares images of 7"),
    ("search --method dggan --start_resolution 4 --reward swd", "--reward: swd compares images of 7"),
    ("search --method proggan --start_resolution 4 --img_size 4 --reward swd", "--reward: swd"),
    ("search --bottom_width 1 --img_size 8", "--bottom_width: 1"),
    ("search --method slas --bottom_width 1 --img_size 8", "--bottom_width: 1"),
    ("search --method random_sharing --bottom_width 1 --img_size 8", "--bottom_width: 1"),
    ("search --method asha --bottom_width 1 --img_size 8", "--bottom_width: 1"),
    ("train_derived --arch 1 2 1 1 --bottom_width 1 --img_size 2", "--bottom_width: --bottom_width 1 leaves the first instance norm"),
    ("test --arch 1 2 1 1 --bottom_width 1 --img_size 2", "--bottom_width"),
    ("train_derived --arch 1 1 1 1 --bottom_width 1 --img_size 2 -gen_bs 1", "--bottom_width: 1 leaves the first cell's batch norm"),
    ("train_derived --arch 1 1 1 1 --bottom_width 1 --img_size 2 -dis_bs 1", "--bottom_width"),
    ("train_derived --gen_model sngan --precision tf32 --device cpu", "--precision: tf32"),
    ("search --device cpu:7", "--device: 'cpu:7' is no device"),
    ("search --device cuda:256", "--device: "),
]  # fmt: skip


@pytest.mark.parametrize("command, words", TOGETHER, ids=lambda value: value[:60])
def test_options_that_do_not_go_together_are_found_before_anything_is_read(fail_command, command, words):
    for dry_run in ("", " --dry_run"):
        if dry_run or not command.startswith("test"):
            assert words in fail_command(command + dry_run)


@pytest.mark.parametrize("norm, bottom_width", [(1, 2), (0, 1), (1, 1)])
def test_what_a_norm_can_work_with_is_taken(type_command, capsys, norm, bottom_width):
    size = 2 * bottom_width
    type_command(
        f"train_derived --arch 1 {norm} 1 1 --bottom_width {bottom_width} --img_size {size} --dry_run"
    )
    assert json.loads(capsys.readouterr().out)["resolution"] == size


@pytest.mark.parametrize("name", ["a\tb", "a\x01b", "a\nb", "a\x7fb", "a/b", "", "x" * 300, "\u0661" * 150])
def test_a_name_that_no_folder_should_have_is_refused(capsys, name):
    with pytest.raises(SystemExit) as ending:
        cfg.parse("search", ["--exp_name", name])
    line = capsys.readouterr().err
    assert ending.value.code == 2 and line.startswith("error: --exp_name:") and line.count("\n") == 1


def test_options_of_the_metrics_commands_have_bounds(monkeypatch, capsys):
    for options in (
        "--img_size 1000000",
        "--shuffle_seed 4294967296",
        "--batch_size 99999999999",
        "--device cpu:7",
    ):
        monkeypatch.setattr("sys.argv", ["metrics", "--real", "x", "--fake", "y", *options.split()])
        with pytest.raises(SystemExit) as ending:
            run_script(metrics.parse)
        line = capsys.readouterr().err
        assert ending.value.code == 2 and line.startswith(f"error: {options.split()[0]}: ")


# Memory.


def test_memory_is_that_of_the_networks_and_of_the_largest_batch():
    memory = Memory({"--a": 10, "--b": 5}, {"--c": 7, "--d": 20})
    assert memory.total == 35
    memory.check(35)
    with pytest.raises(UserError, match="^--d: the run takes"):
        memory.check(34)


def architecture_and_memory(batch, **changes):
    architecture = Architecture.parse("sngan")
    training = TrainingOptions(gen_batch_size=batch, dis_batch_size=batch, **changes)
    with on_meta("--x"):
        networks = FAMILIES["autogan"].networks(architecture, 16, CellOptions(gf_dim=8, df_dim=8))
        return networks, training_memory(networks, training, 10, 32, widths="--x", averages=1)


def test_the_estimate_counts_weights_gradients_moments_and_averages():
    (generator, discriminator), memory = architecture_and_memory(1)
    sizes = [sum(each.numel() for each in network.parameters()) for network in (generator, discriminator)]
    assert memory.networks == {"--x": 20 * sizes[0] + 16 * sizes[1]}


class SmallGenerator(torch.nn.Sequential):
    """For each image it keeps its noise (4 floats) and what tanh makes (12), which is also the image."""

    latent_dim = 4

    def __init__(self):
        super().__init__(torch.nn.Linear(4, 12), torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 2, 2)))


@pytest.mark.parametrize("precision, share", [("float32", 1), ("tf32", 1), ("bfloat16", 2)])
def test_the_estimate_is_the_sum_of_what_small_networks_keep(precision, share):
    """The discriminator keeps its image (12 floats), what tanh makes (5) and its logit."""
    with on_meta("--x"):
        judge = torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
        networks = SmallGenerator(), torch.nn.Sequential(*judge)
    training = TrainingOptions(gen_batch_size=7, dis_batch_size=11, precision=precision)
    memory = training_memory(networks, training, 10, 2, widths="--w", averages=1)
    generator, discriminator, noise = 4 * 12 + 12, 12 * 5 + 5 + 5 + 1, 64 * 4 * 4
    assert memory.networks == {"--w": 16 * (generator + discriminator) + 4 * generator}
    assert memory.batches == {
        "--gen_batch_size": 7 * (4 * (4 + 12 + 12) // share + noise),
        "--dis_batch_size": 11 * (2 * 4 * (12 + 5 + 1) // share + noise),
        "--eval_batch_size": 10 * 4 * 12,
    }
    sampling = sampling_memory(networks[0], 10, widths="--w")
    assert (sampling.networks, sampling.batches) == ({"--w": 4 * generator}, {"--eval_batch_size": 480})


def test_the_estimate_grows_with_the_batch_and_is_half_in_bfloat16():
    small, large, half = (
        architecture_and_memory(batch, **changes)[1].batches["--dis_batch_size"]
        for batch, changes in ((10, {}), (100, {}), (100, {"precision": "bfloat16"}))
    )
    assert large == 10 * small and large / 2 < half < large / 1.9


def test_the_estimate_is_a_lower_bound_of_what_a_step_keeps():
    """Bytes that autograd really keeps in a forward pass of the discriminator on real and generated images."""
    (_, discriminator), memory = architecture_and_memory(8)
    discriminator = discriminator.to_empty(device="cpu")
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = [discriminator(torch.zeros(8, 3, 32, 32)) for _ in range(2)]
    assert logits and 0.8 * sum(kept.values()) < memory.batches["--dis_batch_size"] < 1.2 * sum(kept.values())


def test_a_growing_search_counts_its_largest_networks():
    plan = make_plan(
        cfg.parse(
            "search", "--method dggan --growth_width 8 --filters 4 40 --kernels 3 --img_size 16".split()
        )
    )
    base = sum(parameter_counts(proggan_architecture(16, 8)))
    assert sum(plan.memory().networks.values()) > 16 * (base + 9 * 8 * 40)


def test_parameters_of_growing_networks_are_counted_without_building_them():
    networks = growing_networks("4: G 3x5 D 3x6 | 8: G 3x7 5x4 D 3x2 3x9", latent_dim=11)
    counts = tuple(sum(each.numel() for each in network.parameters()) for network in networks)
    assert parameter_counts(networks[0].architecture, 11) == counts


def test_batches_of_stored_images_are_counted():
    assert scoring_memory(20, 100, 50).total == 3 * 100**2 * (20 + 4 * 20)
    assert scoring_memory(500, 100, 50).total == 3 * 100**2 * (50 + 4 * 32)


def test_dry_runs_tell_the_memory(type_command, capsys):
    for command in DRY.values():
        type_command(command)
        assert json.loads(capsys.readouterr().out)["memory_bytes"] > 2**20


@pytest.mark.parametrize(
    "name", ["cpu:0", "cpu:7", "CPU", "cuda:-1", "cuda:01", "mps", "meta", "", "cuda:99999999999999"]
)
def test_what_is_no_device_here_is_refused(name):
    with pytest.raises(UserError, match="^--device: "):
        pick_device(name)


# Files.


@pytest.fixture
def special_files(tmp_path_factory):
    """{kind: path} of what can stand in the place of a file."""
    folder = tmp_path_factory.mktemp("special")
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to(folder / "loop")
    paths = {"folder": folder, "device": "/dev/zero", "long name": folder / ("x" * 300)}
    return paths | {name: folder / name for name in ("fifo", "loop", "missing")}


def test_only_regular_files_are_opened(special_files, tmp_path):
    for path in special_files.values():
        with pytest.raises(UserError, match="^--option: .*; give a file"):
            open_regular(path, "--option", "give a file")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_regular(tmp_path / "link", "--option", "") as file:
        assert file.read() == b"x"


SMALL = "--gf_dim 4 --df_dim 4 --feature_net efficientnet-lite0 --dataset digits"
READERS = ["train_derived --dry_run --arch_file", f"train_derived --gen_model sngan {SMALL} --init_from"]
READERS += ["search --load_path", "test --load_path", "train_derived --gen_model sngan --folder_file"]


@pytest.mark.parametrize("command", READERS)
def test_every_option_that_names_a_file_refuses_what_is_none(fail_command, special_files, command):
    for kind, path in special_files.items():
        if kind not in ("missing", "loop") or not command.endswith("--folder_file"):  # these it may replace
            assert fail_command(f"{command} {path}").startswith(f"error: {command.split()[-1]}: ")


DERIVED = {
    "nested": "[" * 5000 + "]" * 5000,
    "nested entries": '{"architectures": ' + "[" * 1500 + "]" * 1500 + "}",
    "20,000 cells": json.dumps({"architectures": [{"architecture": " | ".join(["1 0 1 1"] + ["1 0 1 1 0"] * 19999)}]}),
    "39 cells": json.dumps({"architectures": [{"architecture": " | ".join(["1 0 1 1"] + ["1 0 1 1 0"] * 38)}]}),
    "20,000 tokens": json.dumps({"architectures": [{"architecture": "1 0 1 1 " + "1 0 1 1 0 " * 19999}]}),
    "20,000 convolutions": json.dumps({"architectures": [{"architecture": f"4: G {'3x4 ' * 20000} D 3x4"}]}),
    "1,000 resolutions": json.dumps({"architectures": [{"architecture": " | ".join(f"{4 << i}: G 3x4 D 3x4" for i in range(1000))}]}),
    "a resolution of 6,000 digits": json.dumps({"architectures": [{"architecture": f"{'9' * 6000}: G 3x4 D 3x4"}]}),
    "no text": '{"architectures": 3}',
}  # fmt: skip


@pytest.mark.parametrize("content", DERIVED.values(), ids=DERIVED)
def test_a_derived_json_that_is_none_is_refused_in_a_line(fail_command, tmp_path, content):
    (tmp_path / "derived.json").write_text(content)
    line = fail_command("train_derived --dry_run --arch_file derived.json")
    assert line.startswith("error: --arch_file: ") and len(line) < 2100


GOOD = {"mu": np.zeros(6), "sigma": np.eye(6)}
INDEFINITE = np.eye(6) + 5 * (np.eye(6, k=1) + np.eye(6, k=-1))
STATISTICS = {
    "large": GOOD | {"sigma": np.eye(6) * 1e300},
    "large means": GOOD | {"mu": np.full(6, -1e300)},
    "indefinite": GOOD | {"sigma": INDEFINITE},
    "negative": GOOD | {"sigma": np.diag([1, 1, 1, 1, 1, -0.1])},
    "deep provenance": GOOD | {"provenance": np.array("[" * 5000 + "]" * 5000)},
    "long provenance": GOOD | {"provenance": np.array("x" * 10**6)},
    "features not finite": GOOD | {"provenance": np.array("{}"), "sample": np.full((9, 6), np.nan)},
    "three features": GOOD | {"provenance": np.array("{}"), "sample": np.zeros((3, 6))},
}


@pytest.mark.parametrize("arrays", STATISTICS.values(), ids=STATISTICS)
def test_statistics_that_are_none_of_features_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(UserError, match="^--fid_stat: "):
        load_fid_stat(tmp_path / "odd.npz", 6)


@pytest.mark.parametrize("sigma", [np.zeros((6, 6)), np.ones((6, 6)), np.diag([1, 1, 1, 1, 1, -1e-17])])
def test_singular_covariances_are_taken(tmp_path, sigma):
    np.savez(tmp_path / "singular.npz", mu=np.zeros(6), sigma=sigma)
    assert np.array_equal(load_fid_stat(tmp_path / "singular.npz", 6).sigma, sigma)
