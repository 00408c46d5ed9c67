"""The discriminator's width and depth apart from the generator's, counted and within memory estimates."""

import json

import pytest
import torch
from running import training_options

from option_groups.shared import CellOptions
from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator
from models.families import family
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from utils.randomness import global_seed
from utils.training.memory import on_meta, training_memory


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("form", [lambda network: network, fast_form], ids=["plain", "fast"])
def test_further_blocks_run_before_the_last_one_at_every_level(in_float64, level, form):
    with global_seed(0):
        discriminator = form(prepare(Discriminator(3, 4, deeper=2), with_spectral_norm=True)).eval()
    images = torch.randn(2, 3, 16, 16)
    h = images
    for block in [*discriminator.growing[: level + 1], *discriminator.deeper, discriminator.last]:
        h = block(h)
    expected = h.relu().sum((2, 3)) @ discriminator.linear.weight.T
    torch.testing.assert_close(discriminator(images, level), expected)


def test_without_further_blocks_weights_and_names_are_those_of_before():
    with global_seed(0):
        first = prepare(Discriminator(2, 4), with_spectral_norm=True)
    with global_seed(0):
        second = prepare(Discriminator(2, 4, deeper=0, outputs=1), with_spectral_norm=True)
    assert not any(name.startswith("deeper") for name in first.state_dict())
    for mine, theirs in zip(first.state_dict().values(), second.state_dict().values()):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("df_dim, df_depth", [(64, 0), (768, 2), (1024, 4)])
def test_a_dry_run_counts_a_discriminator_of_any_width_and_depth(type_command, capsys, df_dim, df_depth):
    """Block: two convolutions of 3x3. First: 3 to C, C to C, 3 to C of 1x1. The second has a shortcut."""
    c = df_dim
    first, block = (27 * c + c) + (9 * c * c + c) + (3 * c + c), 2 * (9 * c * c + c)
    expected = first + (block + c * c + c) + block + df_depth * block + block + c
    for script in ("train_derived --gen_model autogan_cifar10_a --gf_dim 64", "search --gf_dim 64"):
        type_command(f"{script} --df_dim {df_dim} --df_depth {df_depth} --dry_run")
        described = json.loads(capsys.readouterr().out)
        assert described["discriminator_parameters"] == expected
        assert described["memory_bytes"] > 16 * expected


def memory(parts=1, **cells):
    architecture, training = Architecture.parse("sngan"), training_options()
    with on_meta("--x"):
        networks = family(architecture).networks(architecture, 16, CellOptions(gf_dim=8, **cells))
        return training_memory(networks, training, 10, 32, widths="--x", averages=1, parts=parts)


def test_the_estimate_of_memory_knows_width_depth_and_parts():
    wide, deep, plain = memory(df_dim=1024), memory(df_dim=512, df_depth=3), memory(df_dim=512)
    blocks = 3 * 2 * (9 * 512**2 + 512)
    assert deep.networks["--x"] - plain.networks["--x"] == 16 * blocks
    assert wide.batches["--dis_batch_size"] > 1.9 * plain.batches["--dis_batch_size"]
    assert deep.batches["--dis_batch_size"] > plain.batches["--dis_batch_size"]
    in_parts = memory(parts=4, df_dim=512)
    for name in ("--dis_batch_size", "--gen_batch_size"):
        noise = training_options().gen_batch_size * 64 * 16 * 4
        assert in_parts.batches[name] < plain.batches[name] / 4 + noise
    assert in_parts.networks == plain.networks
