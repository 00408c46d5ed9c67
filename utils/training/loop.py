"""The one training loop: shared GANs, derived networks and growing pairs are all trained by `train`.

    for look in train(gan, inputs, functions_at, looks, options):
        ...                                   # record, draw, score, save

The caller says after which steps to look. Between two looks nothing waits for the device.
"""

import copy
import math
from functools import partial
from typing import NamedTuple

import torch

from utils.cli import Ending
from utils.distributed import own_rows, size
from utils.precision import multiplying
from utils.training.adversarial import discriminator_step, generator_step

MOST_ROLLBACKS = 3


class Diverged(Ending):
    """Training produced NaN or infinity. The message says what, and at which step."""

    exit_code = 3


class Look(NamedTuple):
    """What training has done since the last look."""

    step: int  # steps done so far
    d_losses: list  # a float for each step
    g_losses: list  # a float for each step, None where the generator was not trained
    rollbacks: int  # how often the run has rolled back so far

    def figures(self):
        """The latest loss of each network, for the log; None if the generator was not trained."""
        trained = [loss for loss in self.g_losses if loss is not None]
        return {"d_loss": self.d_losses[-1], "g_loss": trained[-1] if trained else None}


def look_steps(first, total, *frequencies):
    """Steps after `first` at which to look: every multiple of each frequency, and `total` at the end."""
    step = first
    while step < total:
        step = min(total, *(frequency * (step // frequency + 1) for frequency in frequencies))
        yield step


def train(
    gan, inputs, functions_at, looks, options, *, first=0, rollbacks=0, log=print, ema_decay=0.999,
    lr_factor=None, progress=None,
):  # fmt: skip
    """Train from step `first` to each step of `looks` in turn, and yield a Look there.

    inputs: a StepInputs, or anything with its `batches`. functions_at(step): the StepFunctions of a step.
    options: the training options; `precision`, `max_grad_norm` and `on_nan` are read here.
    rollbacks: how often the run has rolled back before. log(message): called at each further rollback.
    ema_decay: of the average generator, per generator step; a number, or a function of the step.
    lr_factor(step): factor of both initial learning rates, set after the generator's update in a step.
    progress: a Progress that counts the steps.
    Raises Diverged at NaN or infinity, unless `on_nan` is "rollback", which allows three rollbacks.
    """
    for last in looks:

        def attempt(rollbacks, first=first, last=last):
            batches = _counted(inputs.batches(first, last, rollbacks), progress)
            return train_steps(gan, batches, functions_at, options, ema_decay=ema_decay, lr_factor=lr_factor)

        (d_losses, g_losses), rollbacks = train_or_roll_back(gan, attempt, rollbacks, options.on_nan, log)
        yield Look(last, d_losses, g_losses, rollbacks)
        first = last


def _counted(batches, progress):
    """The batches; after each of them its step is done."""
    for batch in batches:
        yield batch
        if progress:
            progress.reach(batch.step + 1)


def train_steps(gan, batches, functions_at, options, *, ema_decay=0.999, lr_factor=None):
    """Train on some batches; see `train`. Returns the losses of both networks as lists, see Look."""
    device, max_grad_norm = next(gan.generator.parameters()).device, options.max_grad_norm
    # A recorded step holds these values fixed, so they are part of its key.
    fixed_decay = None if callable(ema_decay) else ema_decay
    way = (options.precision, max_grad_norm, fixed_decay, gan.generator.training)
    steps, d_results, g_results = [], [], []
    with multiplying(options.precision, device, autocast=False), gan.graphs.stream():
        for batch in batches:
            functions = functions_at(batch.step).in_precision(options.precision, device)
            key = functions.key and (functions.key, functions.recipe.key, *way)
            steps.append(batch.step)

            # Update the discriminator.
            labels = _if_any(batch.labels)
            count = batch.count or len(batch.real)
            details = {"max_grad_norm": max_grad_norm, "labelled": bool(labels)}
            update = partial(discriminator_step, gan, functions, **details, share=len(batch.real) / count)
            inputs = [batch.real, batch.noise, *labels, *draw_own(functions.loss.draw, count, batch.real)]
            draw = partial(functions.recipe.draw, "discriminator")
            inputs += draw_own(draw, count, batch.noise, batch.real)
            name = _recording("D", key, gan.discriminator_optimizer)
            d_results.append(gan.graphs.run(name, update, *inputs))
            if gan.adaptive:
                gan.adaptive.adjust(batch.step)

            # Update the generator and its average.
            g_results.append(None)
            if batch.generator_noise is not None:
                update = partial(generator_step, gan, functions, **details, ema_decay=fixed_decay)
                noise, labels, real = generator_inputs(batch, functions)
                inputs = [noise, *_if_any(labels), *_if_any(real)]
                draw = partial(functions.recipe.draw, "generator")
                inputs += draw_own(draw, size() * len(noise), noise, *_if_any(real))
                if fixed_decay is None:
                    inputs.append(torch.full((), ema_decay(batch.step), dtype=torch.float64, device=device))
                name = _recording("G", key, gan.generator_optimizer)
                g_results[-1] = gan.graphs.run(name, update, *inputs)
                if lr_factor:
                    gan.scale_learning_rates(lr_factor(batch.step))

        # Read all losses at once: the only moment that waits for the device.
        (d_losses, d_norms), (g_losses, g_norms) = _to_floats(d_results), _to_floats(g_results)
    for step, *figures in zip(steps, d_losses, d_norms, g_losses, g_norms):
        refuse_non_finite(dict(zip(FIGURES, figures)), f"step {step}")
    return d_losses, g_losses


def draw_own(draw, count, *inputs):
    """The random tensors of an update that draw(*inputs) makes, a row for each image.

    They are drawn for the whole batch, of `count` images, of which this process takes its rows.
    """
    if size() == 1:
        return draw(*inputs)
    whole = (each[:1].expand(count, *each.shape[1:]) for each in inputs)  # only shape and device are read
    return tuple(tensor[own_rows(count)] for tensor in draw(*whole))


def generator_inputs(batch, functions):
    """(noise, labels or None, real images or None) of the generator's update.

    Real images only if its loss reads some: as many, if in pairs. A conditional discriminator judges both by
    the same labels, so there are as many then, too, of the real images' classes.
    """
    noise, real, labels = batch.generator_noise, batch.real, batch.generator_labels
    if not functions.loss.reads_real:
        return noise, labels, None
    if labels is not None:
        count = min(len(noise), len(real))
        return noise[:count], batch.labels[:count], real[:count]
    return noise[: len(real)] if functions.loss.in_pairs else noise, None, real


def _if_any(tensor):
    """A tensor as the input of a step, or none."""
    return () if tensor is None else (tensor,)


FIGURES = (
    "loss of the discriminator", "norm of the discriminator's gradient",
    "loss of the generator", "norm of the generator's gradient",
)  # fmt: skip


def _recording(network, key, optimizer):
    """The name under which an update is recorded; None if there is no key.

    The optimiser updates every parameter that has been used so far. When a new architecture uses further
    ones, the update changes and needs another recording.
    """
    return key and (network, key, len(optimizer.state))


def _to_floats(results):
    """Tensors (2,) and Nones -> two lists of floats and Nones, in one transfer."""
    present = [result for result in results if result is not None]
    values = iter(torch.stack(present).tolist() if present else [])
    return map(list, zip(*((None, None) if result is None else next(values) for result in results)))


def refuse_non_finite(figures, where):
    """Raise Diverged if one of {name: number or None} is NaN or infinite."""
    for name, value in figures.items():
        if value is not None and not math.isfinite(value):
            raise Diverged(f"the {name} is {value} at {where}")


def train_or_roll_back(part, attempt, rollbacks, on_nan, log):
    """Call attempt(rollbacks), which trains `part`. Returns (its result, number of rollbacks).

    part: anything with a state dict. If the attempt raises Diverged and `on_nan` is "rollback", `part` goes
    back to its state before and is trained again, with one rollback more. The attempt must draw its noise by
    that number, because the same noise would diverge again. The number is saved with the run, so a run that
    stops and goes on takes the same path. After three rollbacks Diverged is raised.
    """
    before = copy.deepcopy(part.state_dict()) if on_nan == "rollback" else None
    while True:
        try:
            return attempt(rollbacks), rollbacks
        except Diverged as diverged:
            if before is None or rollbacks == MOST_ROLLBACKS:
                raise
            rollbacks += 1
            count = ("first", "second", "third")[rollbacks - 1]
            log(f"{diverged}: going back and on with other noise, for the {count} time")
            part.load_state_dict(copy.deepcopy(before))  # an optimiser keeps the very tensors it loads
