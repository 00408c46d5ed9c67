"""The adversarial step: one discriminator update, one generator update, and the loop over them.

Networks are passed as callables: `generate(z)` -> images and `discriminate(images)` -> logits (N, 1), so the step knows no architecture.
"""

import math
from typing import Callable, Hashable, NamedTuple

import torch

from utils.cli import Ending
from utils.gan import update_average
from utils.losses import AdversarialLoss, hinge
from utils.precision import in_precision, multiplying


def discriminator_step(generate, discriminate, optimizer, real, noise, *drawn, loss=hinge, max_grad_norm=None):
    """Update the discriminator once on as many fake images as real ones. Returns the loss, a 0-d tensor on the device.

    real (N, 3, R, R), noise (N, latent_dim), `drawn` of loss.draw(real). `max_grad_norm` clips the gradient's norm.
    """
    with torch.no_grad():
        fake = generate(noise)
    if fake.shape != real.shape:
        raise ValueError(f"fake images {tuple(fake.shape)} and real ones {tuple(real.shape)} differ in shape")
    return _minimise(loss.discriminator(discriminate, real, fake, *drawn), optimizer, max_grad_norm)


def generator_step(generate, discriminate, optimizer, noise, frozen, *, loss=hinge, max_grad_norm=None):
    """Update the generator once; `frozen` are the discriminator's parameters, whose gradients are not worth computing.

    noise (M, latent_dim). Returns the loss, a 0-d tensor on the device.
    """
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        return _minimise(loss.generator(discriminate, generate(noise)), optimizer, max_grad_norm)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _minimise(value, optimizer, max_grad_norm):
    # Zeros, not None: what a sampled architecture does not use keeps its place in Adam's averages, as in the authors' search.
    optimizer.zero_grad(set_to_none=False)
    value.backward()
    if max_grad_norm:
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], max_grad_norm)
    optimizer.step()
    return value.detach()


class Diverged(Ending):
    """Training produced NaN or infinity; the message names step and loss."""

    exit_code = 3


class Setting(NamedTuple):
    """What one training step runs: how images are made and judged, and the loss.

    `key` names all three where that is possible, so that steps of the same key may be recorded once and replayed.
    """

    generate: Callable
    discriminate: Callable
    loss: AdversarialLoss = hinge
    key: Hashable = None


def train_steps(gan, steps, setting_at, *, precision="float32", max_grad_norm=None, ema_decay=0.999, lr_factor=None):
    """Train on `steps`, an iterable of (step number, real images, noise, generator noise or None); `setting_at(step)` is its Setting.

    Every step updates the discriminator; one with generator noise then updates the generator and its average. `lr_factor(step)`
    scales both learning rates. Returns the losses as two lists of floats, None where the generator was not trained: the only
    moment that waits for the device. Raises Diverged if one is not finite.
    """
    device = next(gan.generator.parameters()).device
    frozen = list(gan.discriminator.parameters())
    discriminator_losses, generator_losses, numbers = [], [], []

    def update_discriminator(setting, real, noise, *drawn):
        return discriminator_step(
            setting.generate, setting.discriminate, gan.discriminator_optimizer, real, noise, *drawn,
            loss=setting.loss, max_grad_norm=max_grad_norm,
        )  # fmt: skip

    def update_generator(setting, noise):
        loss = generator_step(
            setting.generate, setting.discriminate, gan.generator_optimizer, noise, frozen,
            loss=setting.loss, max_grad_norm=max_grad_norm,
        )  # fmt: skip
        if gan.average is not None:
            update_average(gan.average, gan.generator, ema_decay)
        return loss

    with multiplying(precision, device, autocast=False), gan.stream():
        for step, real, noise, generator_noise in steps:
            setting = setting_at(step)
            setting = setting._replace(
                generate=in_precision(setting.generate, precision, device),
                discriminate=in_precision(setting.discriminate, precision, device),
                key=setting.key and (setting.key, precision, max_grad_norm, ema_decay, gan.generator.training),
            )
            numbers.append(step)
            discriminator_losses.append(gan.run(update_discriminator, setting, gan.discriminator_optimizer, real, noise, *setting.loss.draw(real)))
            trains_generator = generator_noise is not None
            generator_losses.append(
                gan.run(update_generator, setting, gan.generator_optimizer, generator_noise) if trains_generator else None
            )
            if trains_generator and lr_factor:
                gan.scale_learning_rates(lr_factor(step))
        losses = torch.stack(discriminator_losses).tolist(), _with_gaps(generator_losses)
    _refuse_divergence(*losses, numbers)
    return losses


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
