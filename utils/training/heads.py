"""Further heads of a discriminator: they predict an image's class and how it was rotated (S3GAN).

Lucic et al., "High-fidelity image generation with fewer labels", ICML 2019. The weights are theirs.
"""

from functools import partial
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

from utils.precision import in_precision

NO_LABEL = -1  # as in utils.data.labels
CLASS_WEIGHT = 1.0  # in the discriminator's loss
ROTATION_WEIGHT = 1.0
GENERATOR_ROTATION_WEIGHT = 0.2


class Heads(NamedTuple):
    """The heads as functions, images (N, 3, R, R) -> logits, where the discriminator has them."""

    classify: Callable | None = None  # -> (N, classes)
    find_rotation: Callable | None = None  # -> (N, 4)

    def in_precision(self, precision, device):
        """The same functions in `precision`, see utils.precision."""
        return Heads(*(head and in_precision(head, precision, device) for head in self))

    @torch.no_grad()
    def complete(self, labels, real):
        """The labels (N,) of real images; an image without one gets the class that the head predicts."""
        if not self.classify:
            return labels
        return torch.where(labels == NO_LABEL, self.classify(real).argmax(1), labels)

    def discriminator_term(self, real, labels):
        """What the heads add to the discriminator's loss on real images. labels: as they were given."""
        rotation = self._rotation_loss(real, ROTATION_WEIGHT)
        return (
            rotation + CLASS_WEIGHT * class_loss(self.classify(real), labels) if self.classify else rotation
        )

    def generator_term(self, fake):
        """What they add to the generator's loss: its images' rotation is to be found, too."""
        return self._rotation_loss(fake, GENERATOR_ROTATION_WEIGHT)

    def _rotation_loss(self, images, weight):
        if not self.find_rotation:
            return 0.0
        rotated, turns = rotate_quarter(images)
        return weight * F.cross_entropy(self.find_rotation(rotated), turns)


def heads_of(discriminator, conditioning, **call):
    """The Heads of a discriminator that was built with this conditioning. call: arguments of each call."""
    return Heads(
        partial(discriminator.classify, **call) if conditioning.class_head else None,
        partial(discriminator.find_rotation, **call) if conditioning.rotation_head else None,
    )


def class_loss(logits, labels):
    """The mean cross-entropy over the images that have a label; 0 if none has."""
    known = (labels != NO_LABEL).float()
    losses = F.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def rotate_quarter(images):
    """The first quarter of the images, at least one, each turned by 0, 90, 180 and 270 degrees.

    Returns (images, numbers of quarter turns).
    """
    quarter = images[: max(1, len(images) // 4)]
    rotated = torch.cat([torch.rot90(quarter, turns, (2, 3)) for turns in range(4)])
    return rotated, torch.arange(4, device=images.device).repeat_interleave(len(quarter))
