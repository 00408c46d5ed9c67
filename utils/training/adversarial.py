"""The adversarial step: one update of the discriminator, one update of the generator.

Networks come as functions, `generate(noise) -> images` and `discriminate(images) -> logits (N, outputs)`, so
the step knows no architecture. Those of a conditional GAN also take `labels=` (N,), which the step binds.
"""

from functools import partial
from typing import Callable, Hashable, NamedTuple

import torch
import torch.nn.functional as F

from utils.distributed import add_up, size
from utils.precision import in_precision
from utils.training.gan import update_average
from utils.training.heads import Heads
from utils.training.losses import AdversarialLoss, hinge
from utils.training.parts import backward
from utils.training.recipe import PLAIN, StepRecipe, balanced_consistency, gradient_penalty


class StepFunctions(NamedTuple):
    """What one training step computes: how images are made and judged, the loss, and what is added to it.

    Steps with the same `key` compute the same, so a GPU may record one and replay it; None: never record.
    """

    generate: Callable
    discriminate: Callable
    loss: AdversarialLoss = hinge
    key: Hashable = None
    recipe: StepRecipe = PLAIN
    heads: Heads = Heads()

    def in_precision(self, precision, device):
        """The same functions with both networks in `precision`, see utils.precision."""
        return self._replace(
            generate=in_precision(self.generate, precision, device),
            discriminate=in_precision(self.discriminate, precision, device),
            heads=self.heads.in_precision(precision, device),
        )

    def of(self, labels):
        """The same functions for images of the classes `labels` (N,); None: of a GAN without classes."""
        if labels is None:
            return self
        return self._replace(
            generate=partial(self.generate, labels=labels),
            discriminate=partial(self.discriminate, labels=labels),
        )


def discriminator_step(
    gan, functions, real, noise, *random, max_grad_norm=0.0, labelled=False, share=1.0
):  # fmt: skip
    """Update the discriminator once, on as many generated images as real ones.

    real (N, 3, R, R), noise (N, latent_dim), `random`: the tensors of functions.loss.draw(real), then those
    of functions.recipe.draw. If `labelled`, the labels (N,) of the real images stand before them. The
    generated images are of the same classes; where a label is missing, of that which the discriminator
    predicts. The gradient's norm is clipped to `max_grad_norm`; 0: never. Returns (loss, norm of the gradient
    before clipping) as a tensor (2,) on the device. ValueError if generated and real images differ in shape.
    share: of several processes, how much of the batch this one has. Loss and gradient are those of the whole.
    """
    recipe, loss_of, labels = functions.recipe, partial(discriminator_loss, gan, functions), []
    if labelled:
        given, *random = random
        labels = [functions.heads.complete(given, real), given]
        functions = functions.of(labels[0])
    with torch.no_grad():
        made = [functions.generate(noise)]
        if recipe.zcr:
            made.append(functions.generate(_near(recipe, noise, recipe.split("discriminator", random)[1])))
    if made[0].shape != real.shape:
        raise ValueError(
            f"generated images {tuple(made[0].shape)} and real ones {tuple(real.shape)} differ in shape"
        )
    # None, not zeros, so Adam skips unused layers: one that goes out of use is never used again.
    gan.discriminator_optimizer.zero_grad(set_to_none=True)
    inputs = [real, *made, *labels, *random]
    loss_of = _weighted(partial(loss_of, labelled=labelled), share)
    loss = backward(loss_of, inputs, recipe.parts, [gan.discriminator])
    return _update(loss, gan.discriminator_optimizer, max_grad_norm)


def discriminator_loss(gan, functions, real, fake, *more, labelled=False):
    """The loss of a batch and what the recipe and the heads add.

    more: images of near noise for zCR; if `labelled` the images' labels, completed and as they were given;
    random tensors.
    """
    recipe = functions.recipe
    near, more = (more[0], more[1:]) if recipe.zcr else (None, more)
    labels, given, *more = more if labelled else (None, None, *more)
    functions = functions.of(labels)
    random, numbers = recipe.split("discriminator", more)
    real = real.detach().requires_grad_() if recipe.r1 else real
    fake = fake.detach().requires_grad_() if recipe.r2 else fake
    judge = recipe.judge(functions.discriminate, numbers, ("real", "fake", "between"), gan.adaptive)
    loss = functions.loss.discriminator(judge, real, fake, *random)
    if recipe.r1:
        loss = loss + recipe.r1 * gradient_penalty(judge, real)
    if recipe.r2:
        loss = loss + recipe.r2 * gradient_penalty(judge, fake)
    if recipe.bcr:
        loss = loss + recipe.bcr * balanced_consistency(judge, real, numbers["moved"])
        loss = loss + recipe.bcr * balanced_consistency(judge, fake, numbers["fake moved"])
    if recipe.zcr:
        loss = loss + recipe.zcr.weight * F.mse_loss(judge.plain(near), judge.plain(fake))
    if gan.adaptive:
        gan.adaptive.observe(judge(real))
    return loss + functions.heads.discriminator_term(real, given)


def generator_step(gan, functions, noise, *more, max_grad_norm=0.0, ema_decay=0.999, labelled=False):
    """Update the generator once, then its moving average if there is one.

    noise (M, latent_dim), as many in each process. more: labels (M,) if `labelled`, real images where the
    loss reads some, the tensors of functions.recipe.draw, then, if `ema_decay` is None, the decay of the
    average as a tensor. The rest and the result as for `discriminator_step`.
    """
    # Zeros, not None: as in the authors' search, Adam's averages also decay for weights that this
    # architecture does not use.
    gan.generator_optimizer.zero_grad(set_to_none=False)
    *more, ema_decay = more if ema_decay is None else (*more, ema_decay)
    if labelled and functions.loss.reads_real:  # then the labels are those of the real images
        more = [functions.heads.complete(*more[:2]), *more[1:]]
    frozen = list(gan.discriminator.parameters())  # nobody needs their gradients
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        loss_of = _weighted(partial(generator_loss, gan, functions, labelled=labelled), 1 / size())
        networks = [gan.generator, gan.discriminator]
        loss = backward(loss_of, [noise, *more], functions.recipe.parts, networks)
        result = _update(loss, gan.generator_optimizer, max_grad_norm)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    if gan.average is not None:
        update_average(gan.average, gan.generator, ema_decay)
    return result


def generator_loss(gan, functions, noise, *more, labelled=False):
    """The loss of a batch and what recipe and heads add; more: as for `generator_step`, without the decay."""
    recipe = functions.recipe
    labels, *more = more if labelled else (None, *more)
    functions = functions.of(labels)
    real, numbers = recipe.split("generator", more)
    judge = recipe.judge(functions.discriminate, numbers, ("fake", "real"), gan.adaptive)
    fake = functions.generate(noise)
    if recipe.best:
        loss = functions.loss.generator(lambda images: judge(images).topk(recipe.best, dim=0).values, fake)
    else:
        loss = functions.loss.generator(judge, fake, *real)
    if recipe.zcr:
        near = functions.generate(_near(recipe, noise, numbers))
        loss = loss - recipe.zcr.generator_weight * F.mse_loss(near, fake)
    return loss + functions.heads.generator_term(fake)


def _weighted(loss_of, share):
    """A loss by its share of the batch, so that the losses of all processes add up to that of the whole."""
    return loss_of if size() == 1 else lambda *inputs: share * loss_of(*inputs)


def _near(recipe, noise, numbers):
    """Noise near `noise`, for zCR."""
    return noise + recipe.zcr.radius * numbers["near"][: len(noise)]


def _update(loss, optimizer, max_grad_norm):
    """Take a step along the gradients that are there. Returns (loss, norm of the gradient)."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    add_up([*(parameter.grad for parameter in trained), loss])
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained])
    if max_grad_norm:
        torch.nn.utils.clip_grads_with_norm_(trained, max_grad_norm, norm)
    optimizer.step()
    return torch.stack([loss, norm])
