"""What a training step does besides the adversarial loss: penalties, augmentation, consistency, top-k, parts.

docs/RECIPES.md names the sources. With the default options a recipe is PLAIN and does nothing.
"""

from typing import NamedTuple

import torch

from utils.training.losses import LOSSES

R3GAN_GAMMA = 0.05  # of R1 and R2 at the start of R3GAN's training on CIFAR-10


class StepRecipe(NamedTuple):
    """The constants of one step."""

    r1: float = 0.0  # weight of the squared gradient of the logits with respect to real images
    r2: float = 0.0  # the same for generated images
    source: tuple = ()  # seed and purpose of the step's random numbers

    @property
    def key(self):
        """What a recorded step holds fixed."""
        return self._replace(source=())


PLAIN = StepRecipe()


class Judge:
    """The discriminator as a loss calls it within one step: it judges the same images once."""

    def __init__(self, discriminate):
        self._discriminate, self._judged = discriminate, []

    def __call__(self, images):
        for judged, logits in self._judged:
            if judged is images:
                return logits
        logits = self._discriminate(images)
        self._judged.append((images, logits))
        return logits


def gradient_penalty(judge, images):
    """The mean over the images of |grad D(x)|^2, summed over the discriminator's outputs.

    The images must require gradients before they are judged. With R1 (Mescheder et al. 2018) they are real
    ones, with R2 generated ones.
    """
    logits, total = judge(images), 0.0
    for output in logits.unbind(1):
        (gradient,) = torch.autograd.grad(output.sum(), images, create_graph=True)
        total = total + gradient.square().flatten(1).sum(1).mean()
    return total


def recipe_schedule(options, training, seed, *purpose):
    """A function step -> StepRecipe. options, training: the groups `recipe` and `training`.

    A penalty that is computed every --r1_interval steps counts as many times (StyleGAN2).
    """
    weight = r1_gamma(options, training) / 2 * options.r1_interval

    def at(step):
        r1 = weight if step % options.r1_interval == 0 else 0.0
        r2 = r1 if training.loss == "r3gan" else 0.0
        return StepRecipe(r1, r2)

    return at


def r1_gamma(options, training):
    """--r1_gamma, or the default of the loss."""
    if options.r1_gamma is None:
        return R3GAN_GAMMA if training.loss == "r3gan" else 0.0
    return options.r1_gamma


def differentiates_gradients(training, recipe):
    """Whether a discriminator's step differentiates a gradient. training, recipe: the option groups."""
    return LOSSES[training.loss].has_penalty or r1_gamma(recipe, training) > 0
