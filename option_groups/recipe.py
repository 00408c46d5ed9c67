"""What later work adds to a training, each switch off by default: docs/RECIPES.md has formulas and sources.

All of these options came after the first checkpoints: a run without them has the defaults, which add nothing.
"""

from dataclasses import dataclass
from functools import partial
from itertools import combinations

from option_groups.kinds import SEARCH, TRAIN, TRAINING
from utils.options import group, option

later = partial(option, later=True)


def some_of(*names):
    """The choices of an option that takes some of these names, in this order and with commas between them."""
    return tuple(",".join(chosen) for size in range(1, 4) for chosen in combinations(names, size))


@group(scripts=TRAINING)
class RecipeOptions:
    """What every training step may do besides the adversarial loss."""

    r1_gamma: float = later(
        None,
        "weight G of R1: G / 2 |grad D|^2 on real images is added to the discriminator's loss; with r3gan on "
        "generated ones too (R2), and there 0.05 by default",
        at_least=0,
    )
    r1_interval: int = later(
        1,
        "discriminator steps from one such penalty to the next, each counting as many times",
        at_least=1,
        at_most=10**6,
    )
    augment: str = later(
        None,
        "DiffAugment: transforms of real and generated images in both steps",
        some_of("color", "translation", "cutout"),
        instead_of=("ada_target",),
    )
    ada_target: float = later(
        None,
        "ADA: augment with a probability that keeps the mean sign of real images' logits here, usually 0.6",
        above=-1,
        at_most=1,
    )
    ada_kimg: int = later(
        500,
        "thousands of images in which it can rise from 0 to 1",
        at_least=1,
        at_most=10**6,
        needs="ada_target",
    )
    ada_interval: int = later(
        4, "discriminator steps between its moves", at_least=1, at_most=10**6, needs="ada_target"
    )
    ada_pipe: str = later(
        "blit,geometric,color",
        "its groups of transforms",
        some_of("blit", "geometric", "color"),
        needs="ada_target",
    )
    bcr: float = later(
        0.0, "weight of consistency between images and the same moved (bCR), usually 10", at_least=0
    )
    zcr: float = later(
        0.0, "weight of consistency between images of neighbouring noise (zCR), usually 20", at_least=0
    )
    zcr_generator: float = later(
        0.5, "weight of their difference in the generator's loss", at_least=0, needs="zcr"
    )
    zcr_radius: float = later(0.05, "standard deviation between the two noises", above=0, needs="zcr")
    generator_topk: float = later(
        1.0,
        "share of its images, those of the highest logits, that the generator learns from in the end "
        "(top-k), usually 0.5",
        above=0,
        at_most=1,
    )
    generator_topk_decay: float = later(
        0.99, "factor of this share in each pass over the data", at_least=0, at_most=1, needs="generator_topk"
    )
    accumulate: int = later(
        1,
        "parts in which a batch is computed, for less memory; the same to rounding, but for batch norm in a "
        "generator's step and the batch's deviation in growing discriminators, which see a part",
        at_least=1,
        at_most=10**6,
    )


@dataclass(frozen=True)
class _Average:
    ema_halflife: int = later(
        None,
        "half-life of the average generator in generated images, for example 500000",
        at_least=1,
        instead_of=("ema_decay",),
    )
    ema_rampup: float = later(
        0.05,
        "it is at most this share of the images generated so far; 0: no ramp",
        at_least=0,
        at_most=1,
        needs="ema_halflife",
    )
    ema_start: int = later(0, "generator steps before which the average is a copy", at_least=0)


@group(scripts=(TRAIN,))
class AverageOptions(_Average):
    """The average generator of train_derived.py."""


@group(scripts=(SEARCH,), methods=("asha", "dggan", "proggan"))
class IndependentAverageOptions(_Average):
    """The average generators of the searches that have some."""


@group(scripts=(TRAIN,))
class RateOptions:
    """Learning rates that change; --lr_decay is the authors' own way."""

    lr_schedule: str = later(
        "constant",
        "how both learning rates fall to 0 at the end",
        ("constant", "linear", "cosine"),
        instead_of=("lr_decay",),
    )
    lr_decay_start: int = later(
        0, "generator iteration from which they fall", at_least=0, needs="lr_schedule"
    )
    lr_warmup: int = later(0, "generator iterations over which they rise from 0", at_least=0)
