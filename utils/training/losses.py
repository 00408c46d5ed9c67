"""The adversarial losses. A loss knows the discriminator as a callable: images -> logits (N, 1)."""

from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

from utils.randomness import random_generator


class AdversarialLoss(NamedTuple):
    """What both networks minimise."""

    discriminator: Callable  # (discriminate, real, fake, *drawn) -> scalar
    generator: Callable  # (discriminate, fake) -> scalar
    draw: Callable = (
        lambda real: ()
    )  # the random tensors of one discriminator step; drawn apart, so that the step can be recorded


def _hinge_discriminator(discriminate, real, fake):
    return F.relu(1.0 - discriminate(real)).mean() + F.relu(1.0 + discriminate(fake)).mean()


def _minus_mean_logit(discriminate, fake):
    return -discriminate(fake).mean()


# Section 3.3.1; the generator's term is the authors' code's, the paper's min(0, D(G(z))) has no gradient where the discriminator is fooled.
hinge = AdversarialLoss(_hinge_discriminator, _minus_mean_logit)


def wasserstein_gradient_penalty(penalty=10.0, drift=0.001, generator=None):
    """WGAN-GP with ProgGAN's drift term. Penalty: mean over the batch of (||grad D(x)|| - 1)^2 at points between real and fake;
    the places are drawn from `generator` (a torch.Generator on the images' device)."""

    def draw(real):
        return (torch.rand(len(real), 1, 1, 1, device=real.device, generator=generator),)

    def discriminator(discriminate, real, fake, mix):
        real_logits, fake_logits = discriminate(real), discriminate(fake)
        between = torch.lerp(real, fake, mix).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminate(between).sum(), between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1)
        return (
            fake_logits.mean()
            - real_logits.mean()
            + penalty * (slope - 1).square().mean()
            + drift * real_logits.square().mean()
        )

    return AdversarialLoss(discriminator, _minus_mean_logit, draw)


def loss_schedule(name, seed, *purpose, device):
    """step -> AdversarialLoss, for "hinge" or "wgan-gp"; the latter's random places depend on seed, purpose and step alone."""
    if name == "hinge":
        return lambda step: hinge
    return lambda step: wasserstein_gradient_penalty(
        generator=random_generator(seed, *purpose, "gradient penalty", step, device=device)
    )
