"""Training and scoring never read a value from the device nor bring tensors of two devices together.

The device is PyTorch's "meta": it holds shapes but no values, so what would wait for a GPU, or mix it with
the CPU, fails here.
"""

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator
from models.growing.growth import fade_images
from models.growing.networks import growing_networks
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from models_search.shared_gan.network import shared_generator
from utils.training.adversarial import StepFunctions, discriminator_step, generator_step
from utils.metrics.sums import FeatureSums
from utils.training.gan import Gan
from utils.images import all_finite, from_uint8, to_uint8
from utils.inception.feature_net import load_feature_net
from utils.training.losses import hinge, wasserstein_gradient_penalty

META = torch.device("meta")


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    monkeypatch.setattr(
        torch, "autocast", lambda *arguments, **named: nullcontext()
    )  # it does not know the device


def autogan():
    generator = fast_form(prepare(shared_generator(2, latent_dim=8, gf_dim=4)))
    discriminator = fast_form(prepare(Discriminator(2, 4), with_spectral_norm=True))
    generator, discriminator = generator.to(META), discriminator.to(META)
    architecture = Architecture.parse("1 0 1 1 | 1 0 2 1 1")
    return (
        generator,
        discriminator,
        partial(generator, architecture=architecture),
        partial(discriminator, level=1),
    )


def dggan():
    grown, parent = "4: G 3x4 D 3x4 | 8: G 3x4 D 3x4 | 16: G 3x4 D 3x4", "4: G 3x4 D 3x4 | 8: G 3x4 D 3x4"
    generator, discriminator = (
        network.to(META) for network in growing_networks(grown, parent, latent_dim=8, merged=True)
    )
    fade = torch.empty((), device=META)
    return generator, discriminator, partial(generator, fade=fade), partial(discriminator, fade=fade)


@pytest.mark.parametrize("build", [autogan, dggan])
@pytest.mark.parametrize("loss", [hinge, wasserstein_gradient_penalty()])
def test_a_training_step(build, loss):
    generator, discriminator, generate, discriminate = build()
    average, *_ = build()
    adams = [torch.optim.Adam(network.parameters(), foreach=True) for network in (generator, discriminator)]
    gan, functions = (
        Gan(generator, discriminator, *adams, average),
        StepFunctions(generate, discriminate, loss),
    )
    real = fade_images(from_uint8(torch.zeros(4, 3, 16, 16, dtype=torch.uint8, device=META)), 0.5)
    for _ in range(2):
        noise = torch.empty(4, 8, device=META)
        losses = [
            discriminator_step(gan, functions, real, noise, *loss.draw(real), max_grad_norm=1.0),
            generator_step(gan, functions, noise, max_grad_norm=1.0),
        ]
    assert all(value.device == META and value.shape == (2,) for value in losses)


def test_scoring():
    network = load_feature_net("efficientnet-lite0", device=META)
    sums = FeatureSums(20, network.feature_dim, network.num_classes, META, splits=4, covariance=True)
    for start in (0, 10):
        images = torch.empty(10, 3, 32, 32, device=META)
        assert all_finite(images).device == META
        sums.add(*network(to_uint8(images)), start)


def test_reading_a_value_would_fail_here():
    with pytest.raises(RuntimeError, match="item"):
        torch.zeros(2, device=META).sum().item()
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(2, device=META) + torch.zeros(2)
