"""What a training step does besides the adversarial loss: penalties, augmentation, consistency, top-k, parts.

docs/RECIPES.md names the sources. With the default options a recipe is PLAIN and does nothing. All random
numbers of a step are one tensor with a row for each image, so that a recorded step reads new ones.
"""

import math
from functools import partial
from typing import Callable, NamedTuple

import torch

from utils.randomness import random_generator
from utils.training.adaptive import AdaptivePipe
from utils.training.augment import MOVES, DiffAugment, move
from utils.training.losses import LOSSES

R3GAN_GAMMA = 0.05  # of R1 and R2 at the start of R3GAN's training on CIFAR-10


class LatentConsistency(NamedTuple):
    """Weights of zCR: how alike the images of neighbouring noise are judged, and how unlike they are made."""

    weight: float
    generator_weight: float
    radius: float


class StepRecipe(NamedTuple):
    """The constants of one step."""

    r1: float = 0.0  # weight of the squared gradient of the logits with respect to real images
    r2: float = 0.0  # the same for generated images
    augment: Callable | None = None  # (images, uniform numbers, probability) -> images; has `columns`
    bcr: float = 0.0  # weight of balanced consistency
    zcr: LatentConsistency | None = None
    best: int | None = None  # how many generated images the generator learns from; None: all
    parts: int = 1  # that a batch is computed in
    source: tuple = ()  # seed and purpose of the step's random numbers

    @property
    def key(self):
        """What a recorded step holds fixed."""
        return self._replace(source=())

    def _uniform_columns(self, network):
        columns = self.augment.columns if self.augment else 0
        if network == "generator":
            return {"fake": columns, "real": columns}
        moves = MOVES if self.bcr else 0
        return {"real": columns, "fake": columns, "between": columns, "moved": moves, "fake moved": moves}

    def draw(self, network, noise, real=None):
        """The random numbers of an update of "discriminator" or "generator": a tuple of one tensor, or none.

        noise, real: the images' batches, of which the larger one counts.
        """
        uniform, normal = sum(self._uniform_columns(network).values()), noise.shape[1] if self.zcr else 0
        if not uniform + normal:
            return ()
        random = random_generator(*self.source, network, device=noise.device)
        rows = max(len(noise), 0 if real is None else len(real))
        numbers = torch.rand(rows, uniform, generator=random, device=noise.device)
        more = torch.randn(rows, normal, generator=random, device=noise.device)
        return (torch.cat([numbers, more], dim=1),)

    def split(self, network, tensors):
        """(the tensors but that of `draw`, {purpose: its columns}); if there is one, it is the last."""
        columns = self._uniform_columns(network)
        if not sum(columns.values()) and not self.zcr:
            return tensors, {}
        *others, numbers = tensors
        sizes = [*columns.values(), numbers.shape[1] - sum(columns.values())]
        return others, dict(zip([*columns, "near"], numbers.split(sizes, dim=1)))

    def judge(self, discriminate, numbers, order, adaptive=None):
        """The Judge of an update. order: the purposes of the batches that the loss judges, in turn."""
        if self.augment is None:
            return Judge(discriminate)
        augment = partial(self.augment, probability=adaptive.probability if adaptive else None)
        return Judge(discriminate, augment, [numbers[name] for name in order])


PLAIN = StepRecipe()


class Judge:
    """The discriminator as a loss calls it within one step: it judges the same images once.

    If there is an augmentation, it judges augmented images, each batch by the next of the random `numbers`;
    `plain` judges the images themselves.
    """

    def __init__(self, discriminate, augment=None, numbers=()):
        self._discriminate, self._augment, self._numbers = discriminate, augment, iter(numbers)
        self._judged, self._judged_plain = [], []

    def __call__(self, images):
        if self._augment is None:
            return self.plain(images)
        return self._once(self._judged, images, self._augmented)

    def plain(self, images):
        """The logits of the images as they are."""
        return self._once(self._judged_plain, images, lambda images: images)

    def _augmented(self, images):
        return self._augment(images, next(self._numbers)[: len(images)])

    def _once(self, judged, images, shown):
        for earlier, logits in judged:
            if earlier is images:
                return logits
        judged.append((images, self._discriminate(shown(images))))
        return judged[-1][1]


def gradient_penalty(judge, images):
    """The mean over the images of |grad D(x)|^2, summed over the discriminator's outputs.

    The images must require gradients before they are judged. With R1 (Mescheder et al. 2018) they are real
    ones, with R2 generated ones. It is the gradient through the augmentation.
    """
    logits, total = judge(images), 0.0
    for output in logits.unbind(1):
        (gradient,) = torch.autograd.grad(output.sum(), images, create_graph=True)
        total = total + gradient.square().flatten(1).sum(1).mean()
    return total


def balanced_consistency(judge, images, uniform):
    """How differently images and the same images moved are judged (bCR; Zhao et al. 2021)."""
    return (judge.plain(images) - judge.plain(move(images, uniform))).square().mean()


def recipe_schedule(options, training, seed, *purpose, steps_per_epoch, first_epoch=0):
    """A function step -> StepRecipe. options, training: the groups `recipe` and `training`.

    The random numbers depend only on seed, purpose and step. A penalty that is computed every --r1_interval
    steps counts as many times (StyleGAN2). first_epoch: passes over the data before step 0.
    """
    weight = r1_gamma(options, training) / 2 * options.r1_interval
    augment, zcr = _augmentation(options), None
    if options.zcr:
        zcr = LatentConsistency(options.zcr, options.zcr_generator, options.zcr_radius)

    def at(step):
        r1 = weight if step % options.r1_interval == 0 else 0.0
        r2 = r1 if training.loss == "r3gan" else 0.0
        best = None
        if options.generator_topk < 1:
            best = best_images(options, training.gen_batch_size, first_epoch + step // steps_per_epoch)
        source = (seed, *purpose, "recipe", step)
        return StepRecipe(r1, r2, augment, options.bcr, zcr, best, options.accumulate, source)

    return at


def _augmentation(options):
    """The transforms of --augment or of ADA, or None."""
    if options.augment:
        return DiffAugment(tuple(options.augment.split(",")))
    return None if options.ada_target is None else AdaptivePipe(tuple(options.ada_pipe.split(",")))


def best_images(options, batch_size, epoch):
    """How many of the generator's images count in a pass over the data (top-k; Sinha et al. 2020).

    All at first, then --generator_topk_decay times as many in each pass, down to the share --generator_topk.
    """
    share = max(options.generator_topk, options.generator_topk_decay**epoch)
    return max(1, math.floor(share * batch_size))


def r1_gamma(options, training):
    """--r1_gamma, or the default of the loss."""
    if options.r1_gamma is None:
        return R3GAN_GAMMA if training.loss == "r3gan" else 0.0
    return options.r1_gamma


def differentiates_gradients(training, recipe):
    """Whether a discriminator's step differentiates a gradient. training, recipe: the option groups."""
    return LOSSES[training.loss].has_penalty or r1_gamma(recipe, training) > 0
