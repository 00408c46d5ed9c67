"""A GPU's autocast runs other operations in float32 than a CPU's does, and where the types do not fit a
network fails on the GPU alone.

PyTorch's fake tensors know devices and types but no values, so they show that without a GPU. They have no
backward pass there.
"""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from models.autogan.networks import Discriminator, Generator
from models.growing.networks import growing_networks
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from models_search.search_space import random_architecture

GROWTHS = {
    "generator": ("4: G 3x4 D 3x4", "4: G 3x4 3x4 D 3x4"),
    "discriminator": ("4: G 3x4 D 3x4", "4: G 3x4 D 3x4 3x4"),
    "resolution": ("4: G 3x4 D 3x4", "4: G 3x4 D 3x4 | 8: G 3x4 D 3x4"),
}


@pytest.fixture(autouse=True)
def cuda_autocast():
    """What torch.autocast("cuda", torch.bfloat16) sets, which does nothing on a machine without a GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.clear_autocast_cache()


def on_fake_gpu(test):
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        test()


@pytest.mark.parametrize("form", [fast_form, lambda network: network])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_every_kind_of_cell_and_the_discriminator(levels, form):
    drawn = torch.Generator().manual_seed(levels)
    architectures = [random_architecture(levels, drawn) for _ in range(8)]

    def run():
        discriminator = form(prepare(Discriminator(levels, 4), with_spectral_norm=True))
        for architecture in architectures:
            images = form(prepare(Generator.of(architecture, latent_dim=4, gf_dim=4)))(torch.randn(2, 4))
            assert images.device.type == "cuda" and images.shape[-1] == 4 << levels
            assert discriminator(images).dtype == torch.bfloat16

    on_fake_gpu(run)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("growth", GROWTHS)
def test_every_growth_while_it_fades_in(growth, merged):
    before, after = GROWTHS[growth]

    def run():
        generator, discriminator = growing_networks(after, before, latent_dim=4, merged=merged)
        for fade in (0.5, torch.rand(()), 1.0):
            generate, discriminate = partial(generator, fade=fade), partial(discriminator, fade=fade)
            assert discriminate(generate(torch.randn(4, 4))).shape == (4, 1)

    on_fake_gpu(run)
