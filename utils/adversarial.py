"""The adversarial step: losses, one discriminator update, one generator update, the average generator.

Networks are passed as callables: `generate(z)` -> images and `discriminate(images)` -> logits (N, 1), so the step knows no architecture.
"""

import copy
import math
from dataclasses import dataclass
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

from utils.cli import Ending
from utils.randomness import random_generator


class AdversarialLoss(NamedTuple):
    """What both networks minimise."""

    discriminator: Callable  # (discriminate, real, fake) -> scalar
    generator: Callable  # (discriminate, fake) -> scalar


def _hinge_discriminator(discriminate, real, fake):
    return F.relu(1.0 - discriminate(real)).mean() + F.relu(1.0 + discriminate(fake)).mean()


def _minus_mean_logit(discriminate, fake):
    return -discriminate(fake).mean()


# Section 3.3.1; the generator's term is the authors' code's, the paper's min(0, D(G(z))) has no gradient where the discriminator is fooled.
hinge = AdversarialLoss(_hinge_discriminator, _minus_mean_logit)


def wasserstein_gradient_penalty(penalty=10.0, drift=0.001, generator=None):
    """WGAN-GP with ProgGAN's drift term. Penalty: mean over the batch of (||grad D(x)|| - 1)^2 at points between real and fake;
    the places are drawn from `generator` (a torch.Generator on the images' device)."""

    def discriminator(discriminate, real, fake):
        real_logits, fake_logits = discriminate(real), discriminate(fake)
        mix = torch.rand(len(real), 1, 1, 1, device=real.device, generator=generator)
        between = torch.lerp(real, fake, mix).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminate(between).sum(), between, create_graph=True)
        slope = gradient.flatten(1).norm(dim=1)
        return fake_logits.mean() - real_logits.mean() + penalty * (slope - 1).square().mean() + drift * real_logits.square().mean()

    return AdversarialLoss(discriminator, _minus_mean_logit)


def loss_schedule(name, seed, *purpose, device):
    """step -> AdversarialLoss, for "hinge" or "wgan-gp"; the latter's random places depend on seed, purpose and step alone."""
    if name == "hinge":
        return lambda step: hinge
    return lambda step: wasserstein_gradient_penalty(
        generator=random_generator(seed, *purpose, "gradient penalty", step, device=device)
    )


def discriminator_step(generate, discriminate, optimizer, real, noise, loss=hinge, max_grad_norm=None):
    """Update the discriminator once on as many fake images as real ones. Returns the loss, a 0-d tensor on the device.

    real (N, 3, R, R), noise (N, latent_dim). `max_grad_norm` clips the gradient's norm.
    """
    with torch.no_grad():
        fake = generate(noise)
    if fake.shape != real.shape:
        raise ValueError(f"fake images {tuple(fake.shape)} and real ones {tuple(real.shape)} differ in shape")
    return _minimise(loss.discriminator(discriminate, real, fake), optimizer, max_grad_norm)


def generator_step(generate, discriminate, optimizer, noise, frozen, loss=hinge, max_grad_norm=None):
    """Update the generator once; `frozen` are the discriminator's parameters, whose gradients are not worth computing.

    noise (M, latent_dim). Returns the loss, a 0-d tensor on the device.
    """
    for parameter in frozen:
        parameter.requires_grad_(False)
    value = _minimise(loss.generator(discriminate, generate(noise)), optimizer, max_grad_norm)
    for parameter in frozen:
        parameter.requires_grad_(True)
    return value


def _minimise(value, optimizer, max_grad_norm):
    # Zeros, not None: what a sampled architecture does not use keeps its place in Adam's averages, as in the authors' search.
    optimizer.zero_grad(set_to_none=False)
    value.backward()
    if max_grad_norm:
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], max_grad_norm)
    optimizer.step()
    return value.detach()


@torch.no_grad()
def update_average(average, network, decay=0.999):
    """Move the average generator a step towards the trained one: its parameters and batch norm's running statistics.

    Other buffers (batch norm's step counter, spectral norm's vectors) are copied: their average means nothing.
    """
    mine, theirs = list(average.parameters()), list(network.parameters())
    for (name, mine_now), theirs_now in zip(average.named_buffers(), network.buffers()):
        if name.endswith(("running_mean", "running_var")):
            mine.append(mine_now)
            theirs.append(theirs_now)
        else:
            mine_now.copy_(theirs_now)
    torch._foreach_lerp_(mine, theirs, 1 - decay)


@dataclass
class Gan:
    """Two networks and their optimisers: what is trained, saved and reset together; `average` is the moving average generator, if kept."""

    generator: torch.nn.Module
    discriminator: torch.nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    average: torch.nn.Module = None

    def state_dict(self):
        """State of every part; the tensors are the live ones."""
        return {name: part.state_dict() for name, part in vars(self).items() if part is not None}

    def load_state_dict(self, state):
        """Take over a state of the same networks."""
        for name, part in vars(self).items():
            if part is not None:
                part.load_state_dict(state[name])
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                for parameter in group["params"]:  # what has been trained before has a gradient of zero now: see _minimise
                    parameter.grad = torch.zeros_like(parameter) if parameter in optimizer.state else None

    def snapshot(self):
        """A copy of the state, to load after further steps."""
        return copy.deepcopy(self.state_dict())


def new_gan(generator, discriminator, device, *, g_lr, d_lr, betas, with_average=False, fast=True):
    """A Gan of two networks, moved to the device, with Adam; the average generator begins as a copy.

    `fast` keeps images channels last, which convolutions like better; the same results to rounding.
    """
    layout = torch.channels_last if fast else torch.contiguous_format
    generator, discriminator = (network.to(device).to(memory_format=layout) for network in (generator, discriminator))
    average = copy.deepcopy(generator).requires_grad_(False) if with_average else None
    adams = [
        torch.optim.Adam([{"params": list(network.parameters()), "initial_lr": lr}], lr=lr, betas=betas)
        for network, lr in ((generator, g_lr), (discriminator, d_lr))
    ]
    return Gan(generator, discriminator, *adams, average)


class Diverged(Ending):
    """Training produced NaN or infinity; the message names step and loss."""

    exit_code = 3


class Setting(NamedTuple):
    """What one training step runs: how images are made and judged, and the loss."""

    generate: Callable
    discriminate: Callable
    loss: AdversarialLoss = hinge


def in_precision(call, precision, device):
    """`call` under autocast if `precision` is "bfloat16"; it returns float32 all the same."""
    if precision == "float32":
        return call

    def in_bfloat16(*inputs):
        with torch.autocast(device.type, torch.bfloat16):
            return call(*inputs).float()

    return in_bfloat16


def train_steps(gan, steps, setting_at, *, max_grad_norm=None, ema_decay=0.999, lr_factor=None):
    """Train on `steps`, an iterable of (step number, real images, noise, generator noise or None); `setting_at(step)` is its Setting.

    Every step updates the discriminator; one with generator noise then updates the generator and its average. `lr_factor(step)`
    scales both learning rates. Returns the losses as two lists of floats, None where the generator was not trained: the only
    moment that waits for the device. Raises Diverged if one is not finite.
    """
    frozen = list(gan.discriminator.parameters())
    discriminator_losses, generator_losses, numbers = [], [], []
    for step, real, noise, generator_noise in steps:
        generate, discriminate, loss = setting_at(step)
        numbers.append(step)
        discriminator_losses.append(
            discriminator_step(generate, discriminate, gan.discriminator_optimizer, real, noise, loss, max_grad_norm)
        )
        generator_losses.append(None)
        if generator_noise is None:
            continue
        generator_losses[-1] = generator_step(
            generate, discriminate, gan.generator_optimizer, generator_noise, frozen, loss, max_grad_norm
        )
        if lr_factor:
            _scale_learning_rates(gan, lr_factor(step))
        if gan.average is not None:
            update_average(gan.average, gan.generator, ema_decay)
    losses = torch.stack(discriminator_losses).tolist(), _with_gaps(generator_losses)
    _refuse_divergence(*losses, numbers)
    return losses


def _scale_learning_rates(gan, factor):
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


def _with_gaps(losses):
    """0-d tensors and Nones -> floats and Nones, in one transfer."""
    present = [loss for loss in losses if loss is not None]
    values = iter(torch.stack(present).tolist() if present else [])
    return [None if loss is None else next(values) for loss in losses]


def last_known(losses):
    """The last loss that is not None, or None."""
    return next((loss for loss in reversed(losses) if loss is not None), None)


def _refuse_divergence(discriminator_losses, generator_losses, numbers):
    for step, *losses in zip(numbers, discriminator_losses, generator_losses):
        for network, loss in zip(("discriminator", "generator"), losses):
            if loss is not None and not math.isfinite(loss):
                raise Diverged(f"the loss of the {network} is {loss} at step {step}")
