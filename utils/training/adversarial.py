"""The adversarial step: one discriminator update, one generator update, and the loop over them.

Networks are passed as callables: `generate(z)` -> images and `discriminate(images)` -> logits (N, 1), so the step knows no architecture.
"""

import copy
import math
from typing import Callable, Hashable, NamedTuple

import torch

from utils.cli import Ending
from utils.training.gan import update_average
from utils.training.losses import AdversarialLoss, hinge
from utils.precision import in_precision, multiplying


def discriminator_step(
    generate, discriminate, optimizer, real, noise, *drawn, loss=hinge, max_grad_norm=None
):
    """Update the discriminator once on as many fake images as real ones. Returns loss and gradient's norm, a tensor (2,) on the device.

    real (N, 3, R, R), noise (N, latent_dim), `drawn` of loss.draw(real). `max_grad_norm` clips the gradient's norm.
    """
    with torch.no_grad():
        fake = generate(noise)
    if fake.shape != real.shape:
        raise ValueError(f"fake images {tuple(fake.shape)} and real ones {tuple(real.shape)} differ in shape")
    optimizer.zero_grad(set_to_none=True)  # a parameter that takes no part any more never will again
    return _minimise(loss.discriminator(discriminate, real, fake, *drawn), optimizer, max_grad_norm)


def generator_step(generate, discriminate, optimizer, noise, frozen, *, loss=hinge, max_grad_norm=None):
    """Update the generator once; `frozen` are the discriminator's parameters, whose gradients are not worth computing.

    noise (M, latent_dim). Returns loss and gradient's norm, a tensor (2,) on the device.
    """
    # Zeros, not None: what a sampled architecture does not use keeps its place in Adam's averages, as in the authors' search.
    optimizer.zero_grad(set_to_none=False)
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        return _minimise(loss.generator(discriminate, generate(noise)), optimizer, max_grad_norm)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _minimise(value, optimizer, max_grad_norm):
    value.backward()
    trained = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained])
    if max_grad_norm:
        torch.nn.utils.clip_grads_with_norm_(trained, max_grad_norm, norm)
    optimizer.step()
    return torch.stack([value.detach(), norm])


class Diverged(Ending):
    """Training produced NaN or infinity; the message names what and at which step."""

    exit_code = 3


def refuse_non_finite(figures, where):
    """Raise Diverged if one of {name: number or None} is NaN or infinite."""
    for name, value in figures.items():
        if value is not None and not math.isfinite(value):
            raise Diverged(f"the {name} is {value} at {where}")


MOST_ROLLBACKS = 3


def train_or_roll_back(part, train, rollbacks, on_nan, log):
    """Train `part` by calling train(rollbacks). Returns what that returned, and how many rollbacks the run has had now.

    Where it raises Diverged and `on_nan` is "rollback", the part goes back to its state before, and trains again with one rollback
    more, by which `train` must choose its noise: with the same it would diverge again. As that number is saved with the part, a run
    that stops and goes on takes the same way.
    """
    before = copy.deepcopy(part.state_dict()) if on_nan == "rollback" else None
    while True:
        try:
            return train(rollbacks), rollbacks
        except Diverged as diverged:
            if before is None or rollbacks == MOST_ROLLBACKS:
                raise
            rollbacks += 1
            log(
                f"{diverged}: going back and on with other noise, for the {('first', 'second', 'third')[rollbacks - 1]} time"
            )
            part.load_state_dict(copy.deepcopy(before))  # an optimiser takes over the tensors themselves


class Setting(NamedTuple):
    """What one training step runs: how images are made and judged, and the loss.

    `key` names all three where that is possible, so that steps of the same key may be recorded once and replayed.
    """

    generate: Callable
    discriminate: Callable
    loss: AdversarialLoss = hinge
    key: Hashable = None


def train_steps(
    gan, steps, setting_at, *, precision="float32", max_grad_norm=None, ema_decay=0.999, lr_factor=None
):
    """Train on `steps`, an iterable of (step number, real images, noise, generator noise or None); `setting_at(step)` is its Setting.

    Every step updates the discriminator; one with generator noise then updates the generator and its average. `lr_factor(step)`
    scales both learning rates. Returns the losses as two lists of floats, None where the generator was not trained: the only
    moment that waits for the device. Raises Diverged if a loss or a gradient is not finite.
    """
    device = next(gan.generator.parameters()).device
    frozen = list(gan.discriminator.parameters())
    of_discriminator, of_generator, numbers = (
        [],
        [],
        [],
    )  # losses and gradients' norms; None where the generator is not trained

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
                key=setting.key
                and (setting.key, precision, max_grad_norm, ema_decay, gan.generator.training),
            )
            numbers.append(step)
            of_discriminator.append(
                gan.run(
                    update_discriminator,
                    setting,
                    gan.discriminator_optimizer,
                    real,
                    noise,
                    *setting.loss.draw(real),
                )
            )
            trains_generator = generator_noise is not None
            of_generator.append(
                gan.run(update_generator, setting, gan.generator_optimizer, generator_noise)
                if trains_generator
                else None
            )
            if trains_generator and lr_factor:
                gan.scale_learning_rates(lr_factor(step))
        d_losses, d_norms = _columns(of_discriminator)
        g_losses, g_norms = _columns(of_generator)
    for step, *values in zip(numbers, d_losses, d_norms, g_losses, g_norms):
        refuse_non_finite(dict(zip(STEP_FIGURES, values)), f"step {step}")
    return d_losses, g_losses


STEP_FIGURES = (
    "loss of the discriminator", "norm of the discriminator's gradient", "loss of the generator", "norm of the generator's gradient",
)  # fmt: skip


def _columns(pairs):
    """Tensors (2,) and Nones -> two lists of floats and Nones, in one transfer."""
    present = [pair for pair in pairs if pair is not None]
    values = iter(torch.stack(present).tolist() if present else [])
    return map(list, zip(*((None, None) if pair is None else next(values) for pair in pairs)))


def last_known(losses):
    """The last loss that is not None, or None."""
    return next((loss for loss in reversed(losses) if loss is not None), None)
