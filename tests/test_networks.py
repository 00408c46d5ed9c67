"""Generators, discriminator, initialisation: exact sizes, exact values, every cell alive."""

import copy

import pytest
import torch
from parity import load_cases

from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.layers.init import initialise, prepare
from models.layers.spectral_norm import add_spectral_norm
from models_search.search_space import every_cell, random_architecture
from models_search.shared_gan.network import shared_generator
from utils.training.sizes import count_macs, count_parameters

REFERENCE = "tests/data/autogan_reference.npz"

# Parameters and MACs at 32 px, then at 48 px: gf_dim 256, latent 128 (the paper's 1.77 GFLOPs are the first
# MACs).
PUBLISHED_SIZES = {
    "autogan_cifar10_a": (4_405_251, 1_765_015_552, 5_065_731, 3_971_284_992),
    "autogan_cifar10_b": (4_471_043, 1_832_124_416, 5_131_523, 4_122_279_936),
    "autogan_cifar10_c": (4_406_275, 1_765_015_552, 5_066_755, 3_971_284_992),
    "e2gan_cifar10": (4_867_331, 1_781_792_768, 5_527_811, 4_009_033_728),
}


def test_networks_compute_what_the_authors_code_computed(pytestconfig):
    cases = load_cases(pytestconfig.rootpath / REFERENCE)
    assert len(cases) == 14
    for case in cases:
        for output, error in case.errors().items():
            assert error <= case.bound, (case.name, output)


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_published_generators_have_their_exact_size(name):
    sizes = []
    for bottom_width in (4, 6):
        with torch.device("meta"):
            generator = Generator.of(Architecture.parse(name), bottom_width=bottom_width)
            sizes += [count_parameters(generator), count_macs(generator, torch.zeros(1, 128))]
    assert tuple(sizes) == PUBLISHED_SIZES[name]


def test_an_architecture_longer_than_the_network_is_refused():
    shared = shared_generator(1, latent_dim=4, gf_dim=2, bottom_width=2)
    with pytest.raises(ValueError, match="2 cells for a generator that has 1"):
        shared(torch.randn(2, 4), Architecture.parse("1 0 1 1 | 1 0 0 1 1"))


def test_sngan_and_the_discriminator_have_their_exact_size():
    with torch.device("meta"):
        assert count_parameters(Generator.of(Architecture.parse("sngan"))) == 4_276_739
        discriminator = Discriminator()
        assert count_parameters(discriminator) == 1_053_824
        assert count_macs(discriminator, torch.zeros(1, 3, 32, 32)) == 272_072_832
        assert count_macs(discriminator, torch.zeros(1, 3, 48, 48)) == 612_163_712


def test_the_search_space_spans_the_known_range_of_parameters():
    def parameters(tokens):
        with torch.device("meta"):
            return count_parameters(Generator.of(Architecture.from_tokens(tokens)))

    assert parameters([1, 0, 1, 0] + [1, 0, 1, 0, 0] * 2) == 4_076_291
    assert parameters([1, 1, 2, 1] + [1, 1, 2, 1, 1] + [1, 1, 2, 1, 3]) == 7_098_115


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_cell_runs_forward_and_backward_and_every_parameter_gets_a_gradient(level):
    lower = random_architecture(level, torch.Generator().manual_seed(level)).cells
    for spec in every_cell(level):
        generator = Generator.of(Architecture((*lower, spec)), latent_dim=3, gf_dim=2, bottom_width=2)
        images = generator(torch.randn(2, 3))
        assert images.shape == (2, 3, 4 << level, 4 << level)
        images.square().sum().backward()
        assert all(parameter.grad is not None for parameter in generator.parameters()), spec


def test_the_shared_generator_equals_the_derived_one_with_its_weights():
    shared = initialise(shared_generator(3, latent_dim=4, gf_dim=3, bottom_width=2)).eval()
    z, drawn = torch.randn(2, 4), torch.Generator().manual_seed(0)
    for index in range(60):
        architecture = random_architecture(1 + index % 3, drawn)
        derived = Generator.of(architecture, latent_dim=4, gf_dim=3, bottom_width=2).eval()
        derived.load_state_dict(
            {name: shared.state_dict()[name] for name in derived.state_dict()}
        )  # a subset, of the same names
        assert torch.equal(shared(z, architecture), derived(z)), architecture


def test_no_forward_pass_changes_a_tensor_that_another_part_holds():
    generator = Generator.of(Architecture.parse("0 1 2 1 | 0 2 2 1 1 | 1 0 1 1 3"), gf_dim=2, latent_dim=3)
    seen = []
    hooks = [
        module.register_forward_hook(
            lambda module, inputs, output: seen.append((output, output.detach().clone()))
        )
        for module in generator.modules()
        if not list(module.children())
    ]
    generator(torch.randn(2, 3))
    for hook in hooks:
        hook.remove()
    assert seen and all(torch.equal(now, then) for now, then in seen)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_discriminator_of_a_level_takes_images_of_that_level(levels):
    discriminator = prepare(Discriminator(levels, df_dim=4), with_spectral_norm=True)
    for level in range(levels):
        assert discriminator(torch.randn(2, 3, 8 << level, 8 << level), level).shape == (2, 1)


def test_initialisation_touches_conv2d_and_batch_norm_only():
    torch.manual_seed(0)
    generator = Generator.of(Architecture.parse("0 1 2 1"), gf_dim=8, latent_dim=3)
    before = copy.deepcopy(generator.state_dict())
    after = initialise(generator).state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    expected = {
        "cells.0.first.post.conv.weight",
        "cells.0.second.post.conv.weight",
        "cells.0.shortcut.weight",
        "to_rgb.2.weight",
    }
    expected |= {f"cells.0.{half}.post.norm.batch.weight" for half in ("first", "second")} | {
        "to_rgb.0.weight"
    }
    assert changed == expected


INITIAL = {
    "normal": lambda weight: weight.normal_(0, 0.02),
    "xavier_uniform": lambda weight: weight.uniform_(*[s * (6 / (9 * 5 + 9 * 2)) ** 0.5 for s in (-1, 1)]),
    "orth": torch.nn.init.orthogonal_,
    "false": lambda weight: weight,
}


@pytest.mark.parametrize("init_type", INITIAL)
def test_weights_start_with_the_published_distributions(in_float64, init_type):
    """Convolutions as --init_type says, by default xavier_uniform; batch norm around 1 with a deviation of 0.02."""
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.Linear(5, 5))
    before = copy.deepcopy(network.state_dict())
    torch.nn.init.ones_(network[1].bias)
    torch.manual_seed(3)
    initialise(network, **({} if init_type == "xavier_uniform" else {"init_type": init_type}))
    torch.manual_seed(3)
    with torch.no_grad():
        expected = before | {
            "0.weight": INITIAL[init_type](before["0.weight"].clone()),
            "1.weight": torch.empty(5).normal_(1, 0.02), "1.bias": torch.zeros(5),
        }  # fmt: skip
    for name, value in network.state_dict().items():
        assert torch.allclose(value.double(), expected[name].double(), rtol=0, atol=1e-15), name


@pytest.mark.parametrize(
    "build",
    [
        lambda: Discriminator(2, 4),
        lambda: Generator.of(Architecture.parse("0 1 2 1"), gf_dim=4, latent_dim=3),
    ],
)
def test_spectral_norm_brings_every_layers_largest_singular_value_to_one(build):
    network = prepare(build(), with_spectral_norm=True)
    for _ in range(100):  # one power iteration per call in training mode
        for module in network.modules():
            if hasattr(module, "parametrizations"):
                module.weight
    network.eval()
    layers = [module for module in network.modules() if hasattr(module, "parametrizations")]
    assert len(layers) == sum(
        isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)) for m in build().modules()
    )
    for layer in layers:
        weight = layer.weight.transpose(0, 1) if isinstance(layer, torch.nn.ConvTranspose2d) else layer.weight
        assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.01)


def test_a_generator_is_rebuilt_from_its_state_alone():
    for norm in (False, True):
        architecture = Architecture.parse("autogan_cifar10_a")
        generator = Generator.of(architecture, latent_dim=5, gf_dim=4, bottom_width=3).eval()
        if norm:
            add_spectral_norm(generator)
        again = Generator.from_state(architecture, generator.state_dict()).eval()
        z = torch.randn(2, 5)
        assert torch.equal(generator(z), again(z))
