"""Merged convolutions compute what the plain ones compute: images, logits and every gradient, in float64."""

import copy

import pytest
import torch
from torch import nn

from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.growing.networks import growing_networks
from models.layers.init import prepare
from models.layers.resampled import conv_of_doubled, conv_of_upsampled, mean_of_conv, merge_resampling
from models_search.search_space import every_cell, random_architecture

EXACT = dict(rtol=1e-9, atol=1e-9)
pytestmark = pytest.mark.usefixtures("in_float64")


def outputs_and_gradients(network, *inputs):
    network.zero_grad(set_to_none=True)
    output = network(*inputs)
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return output.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}


def assert_same(network, *inputs):
    merged = merge_resampling(copy.deepcopy(network))
    assert any(getattr(module, "merged", False) for module in merged.modules())
    assert not any(getattr(module, "merged", False) for module in network.modules())
    (plain, plain_gradients), (fast, fast_gradients) = (
        outputs_and_gradients(network, *inputs),
        outputs_and_gradients(merged, *inputs),
    )
    torch.testing.assert_close(fast, plain, **EXACT)
    for name, gradient in plain_gradients.items():
        torch.testing.assert_close(fast_gradients[name], gradient, **EXACT, msg=name)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_cell(level):
    lower = random_architecture(level, torch.Generator().manual_seed(level)).cells
    for spec in every_cell(level):
        generator = prepare(
            Generator.of(Architecture((*lower, spec)), latent_dim=3, gf_dim=2, bottom_width=3)
        )
        for layer in generator.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(layer.bias)
        assert_same(generator, torch.randn(2, 3))


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_the_discriminator_with_spectral_norm(levels):
    assert_same(
        prepare(Discriminator(levels, df_dim=3), with_spectral_norm=True),
        torch.randn(2, 3, 4 << levels, 4 << levels),
    )


def test_a_growing_generator():
    generator, _ = growing_networks("4: G 3x5 D 3x5 | 8: G 3x4 7x4 D 3x4 | 16: G 3x3 D 3x3", latent_dim=4)
    assert_same(generator, torch.randn(3, 4))


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_a_convolution_of_a_doubled_image_at_its_borders(kernel):
    x, conv = torch.randn(2, 3, 5, 4), nn.Conv2d(3, 2, kernel, padding=kernel // 2)
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(conv_of_doubled(x, conv.weight, conv.bias), conv(doubled), **EXACT)


@pytest.mark.parametrize("up", ["nearest", "bilinear", "deconv"])
@pytest.mark.parametrize("kernel, scale", [(3, 2), (1, 2), (1, 4)])
def test_a_convolution_of_an_upsampled_image(up, kernel, scale):
    x, conv = torch.randn(2, 3, 5, 4), nn.Conv2d(3, 2, kernel, padding=kernel // 2)
    deconvs = nn.Sequential(*(nn.ConvTranspose2d(3, 3, 2, stride=2) for _ in range(scale // 2)))
    plain, merged = (conv_of_upsampled(conv, x, up, deconvs, scale, merged=way) for way in (False, True))
    assert merged.shape == (2, 2, 5 * scale, 4 * scale)
    torch.testing.assert_close(merged, plain, **EXACT)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_mean_of_a_convolution(kernel):
    x, conv = torch.randn(2, 3, 6, 8), nn.Conv2d(3, 4, kernel, padding=kernel // 2)
    torch.testing.assert_close(mean_of_conv(conv, x, merged=True), mean_of_conv(conv, x), **EXACT)


def test_merging_saves_multiplications():
    """A discriminator needs about half of them."""
    from torch.utils.flop_counter import FlopCounterMode

    def multiplications(network, *inputs):
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
        return counter.get_total_flops()

    discriminator = Discriminator(3, 16)
    plain, image = multiplications(discriminator, torch.randn(1, 3, 32, 32)), torch.randn(1, 3, 32, 32)
    assert multiplications(merge_resampling(discriminator), image) < 0.7 * plain
