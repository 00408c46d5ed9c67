"""The adversarial losses.

They call the discriminator as a function: images (N, 3, R, R) -> logits (N, 1).
"""

from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

from utils.randomness import random_generator


def _draw_nothing(real):
    return ()


class AdversarialLoss(NamedTuple):
    """What the two networks minimise."""

    discriminator: Callable  # (discriminate, real, fake, *random) -> scalar
    generator: Callable  # (discriminate, fake) -> scalar
    # (real) -> the random tensors of a step, a row for each image, whose values are not read; they are the
    # step's inputs, so that it can be recorded
    draw: Callable = _draw_nothing


def _hinge_discriminator(discriminate, real, fake):
    return F.relu(1.0 - discriminate(real)).mean() + F.relu(1.0 + discriminate(fake)).mean()


def _minus_mean_logit(discriminate, fake):
    return -discriminate(fake).mean()


# Section 3.3.1. The generator's term is that of the authors' code: the paper's min(0, D(G(z))) has no
# gradient where the discriminator is fooled.
hinge = AdversarialLoss(_hinge_discriminator, _minus_mean_logit)


def wasserstein_gradient_penalty(penalty=10.0, drift=0.001, generator=None):
    """WGAN-GP (Gulrajani et al. 2017) with ProgGAN's drift term.

    The penalty is the mean over the batch of (||grad D(x)|| - 1)^2 at random points x between real and
    generated images. `generator` draws the points: a torch.Generator on the images' device.
    """

    def draw(real):
        return (torch.rand(len(real), 1, 1, 1, device=real.device, generator=generator),)

    def discriminator(discriminate, real, fake, mix):
        real_logits, fake_logits = discriminate(real), discriminate(fake)
        between = torch.lerp(real, fake, mix).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminate(between).sum(), between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1)
        distance = fake_logits.mean() - real_logits.mean()
        return distance + penalty * (slope - 1).square().mean() + drift * real_logits.square().mean()

    return AdversarialLoss(discriminator, _minus_mean_logit, draw)


def loss_schedule(name, seed, *purpose, device):
    """A function step -> AdversarialLoss, for the loss "hinge" or "wgan-gp".

    WGAN-GP's random points depend only on seed, purpose and step.
    """
    if name == "hinge":
        return lambda step: hinge

    def at(step):
        random = random_generator(seed, *purpose, "gradient penalty", step, device=device)
        return wasserstein_gradient_penalty(generator=random)

    return at
