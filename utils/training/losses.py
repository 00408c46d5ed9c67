"""The adversarial losses, each with its source.

They call the discriminator as a function: images (N, 3, R, R) -> logits (N, outputs). What a loss needs is
written beside it, and utils.training.recipe checks it before a run.
"""

from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

from utils.randomness import random_generator


def _draw_nothing(real):
    return ()


class AdversarialLoss(NamedTuple):
    """What the two networks minimise.

    The discriminator's loss judges the real images first, the generator's the generated ones: each batch is
    augmented by random numbers of its own.
    """

    discriminator: Callable  # (discriminate, real, fake, *random) -> scalar
    generator: Callable  # (discriminate, fake) -> scalar; (discriminate, fake, real) if it reads real images
    # (real) -> the random tensors of a step, a row for each image, whose values are not read; they are the
    # step's inputs, so that it can be recorded
    draw: Callable = _draw_nothing
    outputs: int = 1  # of the discriminator
    reads_real: bool = False  # whether the generator's loss needs real images
    in_pairs: bool = False  # whether the i-th generated image is compared with the i-th real one
    of_batch: bool = False  # whether every image is compared with all others of its batch
    has_penalty: bool = False  # whether the discriminator's loss differentiates a gradient
    is_signed: bool = False  # whether a logit above 0 means that an image is taken for real


def _hinge_discriminator(discriminate, real, fake):
    return F.relu(1.0 - discriminate(real)).mean() + F.relu(1.0 + discriminate(fake)).mean()


def _minus_mean_logit(discriminate, fake):
    return -discriminate(fake).mean()


# Section 3.3.1. The generator's term is that of the authors' code: the paper's min(0, D(G(z))) has no
# gradient where the discriminator is fooled.
hinge = AdversarialLoss(_hinge_discriminator, _minus_mean_logit, is_signed=True)


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

    return AdversarialLoss(discriminator, _minus_mean_logit, draw, has_penalty=True)


# Goodfellow et al. 2014: cross entropy, and for the generator -log D(G(z)) instead of log(1 - D(G(z))).


def _logistic_discriminator(discriminate, real, fake):
    return F.softplus(-discriminate(real)).mean() + F.softplus(discriminate(fake)).mean()


def _logistic_generator(discriminate, fake):
    return F.softplus(-discriminate(fake)).mean()


non_saturating = AdversarialLoss(_logistic_discriminator, _logistic_generator, is_signed=True)


# Jolicoeur-Martineau 2019 (arXiv 1807.00734): each image against the mean logit of the other kind.


def _relativistic_hinge(above, below):
    """The hinge that wants the logits `above` 1 over the mean of those `below`, and these 1 under theirs."""
    over, under = above - below.mean(), below - above.mean()
    return (F.relu(1.0 - over).mean() + F.relu(1.0 + under).mean()) / 2


relativistic_hinge = AdversarialLoss(
    lambda discriminate, real, fake: _relativistic_hinge(discriminate(real), discriminate(fake)),
    lambda discriminate, fake, real: _relativistic_hinge(discriminate(fake), discriminate(real)),
    reads_real=True,
    of_batch=True,
)


# Huang et al. 2024 (R3GAN, arXiv 2501.05441): relativistic pairing. Its penalties R1 and R2 are those of
# --r1_gamma, see utils.training.recipe.

relativistic_pairing = AdversarialLoss(
    lambda discriminate, real, fake: F.softplus(-discriminate(real) + discriminate(fake)).mean(),
    lambda discriminate, fake, real: F.softplus(-discriminate(fake) + discriminate(real)).mean(),
    reads_real=True,
    in_pairs=True,
)


# Wang et al. 2019 (arXiv 1812.09916): MMD with the repulsive loss, kernel exp(-|a - b|^2 / 2) of the outputs.


def _kernel(a, b, least=0.0, most=float("inf")):
    """exp(-d / 2) for the squared distances d of all pairs, kept between two bounds: (N, M)."""
    distances = (a[:, None] - b[None]).square().sum(2)
    return torch.exp(-distances.clamp(least, most) / 2)


def _mean_of_others(kernel):
    """The mean without the diagonal; 0 for a single image, which has no others."""
    pairs = len(kernel) * (len(kernel) - 1)
    return (kernel.sum() - kernel.diagonal().sum()) / max(pairs, 1)


def _repulsive_discriminator(discriminate, real, fake):
    real, fake = discriminate(real), discriminate(fake)
    return _mean_of_others(_kernel(real, real, most=4.0)) - _mean_of_others(_kernel(fake, fake, least=0.25))


def _mmd_generator(discriminate, fake, real):
    fake, real = discriminate(fake), discriminate(real)
    within = _mean_of_others(_kernel(fake, fake)) + _mean_of_others(_kernel(real, real))
    return within - 2 * _kernel(fake, real).mean()


repulsive_mmd = AdversarialLoss(
    _repulsive_discriminator, _mmd_generator, outputs=16, reads_real=True, of_batch=True
)

LOSSES = {
    "hinge": hinge,
    "wgan-gp": wasserstein_gradient_penalty(),
    "non-saturating": non_saturating,
    "relativistic-hinge": relativistic_hinge,
    "r3gan": relativistic_pairing,
    "mmd": repulsive_mmd,
}


def loss_schedule(name, seed, *purpose, device):
    """A function step -> AdversarialLoss, for one of LOSSES.

    WGAN-GP's random points depend only on seed, purpose and step.
    """
    if name != "wgan-gp":
        return lambda step: LOSSES[name]

    def at(step):
        random = random_generator(seed, *purpose, "gradient penalty", step, device=device)
        return wasserstein_gradient_penalty(generator=random)

    return at
