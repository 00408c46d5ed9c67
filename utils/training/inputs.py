"""The inputs of training steps: real images and noise that depend only on seed and step number.

So a run can stop, go on, or repeat some steps, and still trains on the same numbers.
"""

import math
from typing import NamedTuple

import torch

from utils.cli import UserError
from utils.data.image_set import epoch_order
from utils.distributed import own_rows, size
from utils.images import from_uint8
from utils.randomness import random_generator, seed_after

NOISE_BLOCK = 64  # steps whose noise is drawn at once


class Batch(NamedTuple):
    """The inputs of one training step."""

    step: int
    real: torch.Tensor  # (n, 3, R, R), float in [-1, 1]
    noise: torch.Tensor  # (n, latent_dim)
    generator_noise: torch.Tensor | None  # (m, latent_dim); None where the generator is not trained
    labels: torch.Tensor | None = None  # (n,) of `real`, and of the images from `noise`; None without classes
    generator_labels: torch.Tensor | None = None  # (m,) of the images from `generator_noise`
    count: int | None = None  # where processes share the batch: the images of all of them together


class StepInputs:
    """The batches of any range of steps, in epochs of `steps_per_epoch` steps.

    images: ResizedImages. training: the training options; batch sizes and n_critic are read here. Step 0 and
    every n_critic-th step train the generator. classes: the Classes of the images, for a conditional GAN.
    """

    def __init__(self, images, seed, training, latent_dim, classes=None):
        self.images, self.seed, self.training, self.latent_dim = images, seed, training, latent_dim
        self.classes = classes
        self.steps_per_epoch = steps_per_epoch(images.num_images, training)
        self._blocks, self._batches, self._order, self._next_step = {}, None, None, None

    def batches(self, first, last, rollbacks=0):
        """Yield the Batch of each step, first <= step < last.

        The last batch of an epoch has the images that are left, as in the authors' code. After a rollback the
        noise is different. Several processes get the rows of distributed.own_rows of each batch.
        """
        batch_size, generator_batch_size = self.training.dis_batch_size, self.training.gen_batch_size
        for step in range(first, last):
            real, count = from_uint8(self._images(step)), self._count(step)
            noise = self._noise("discriminator", step, batch_size, rollbacks)[own_rows(count)]
            labels = self._labels(step)[own_rows(count)] if self.classes else None
            generator_noise = generator_labels = None
            if step % self.training.n_critic == 0:
                update, own = step // self.training.n_critic, own_rows(generator_batch_size)
                generator_noise = self._noise("generator", update, generator_batch_size, rollbacks)[own]
                if self.classes:
                    generator_labels = self._drawn_labels(update, generator_batch_size, rollbacks)[own]
            yield Batch(step, real, noise, generator_noise, labels, generator_labels, count)

    def _count(self, step):
        """The number of images of a step, those of all processes together."""
        position, batch_size = step % self.steps_per_epoch, self.training.dis_batch_size
        return min(batch_size, self.images.num_images - position * batch_size)

    def _images(self, step):
        """The uint8 images of a step.

        Reading goes on from step to step. It starts anew at each epoch and after a jump.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        batch_size = self.training.dis_batch_size
        if step != self._next_step or position == 0:
            self._order = epoch_order(self.images.num_images, self.seed, epoch)
            left = self._order[position * batch_size :]
            own = torch.cat([part[own_rows(len(part))] for part in left.split(batch_size)])
            self._batches = self.images.batches(own, batch_size // size())
        self._next_step = step + 1
        return next(self._batches)

    def _labels(self, step):
        """The labels (n,) of the step's images, which have just been read."""
        position, batch_size = step % self.steps_per_epoch, self.training.dis_batch_size
        rows = self._order[position * batch_size :][:batch_size]
        return self.images.labels[rows.to(self.images.device)]

    def _noise(self, network, update, count, rollbacks):
        """Noise (count, latent_dim) for a network's update number `update`."""
        device = self.images.device

        def draw(*purpose):
            random = random_generator(*purpose, device=device)
            return torch.randn(NOISE_BLOCK, count, self.latent_dim, generator=random, device=device)

        return self._of_block(draw, network, "noise", update, rollbacks)

    def _drawn_labels(self, update, count, rollbacks):
        """Labels (count,) for the generator's update number `update`, as frequent as those of the images."""

        def draw(*purpose):
            labels = self.classes.draw(NOISE_BLOCK * count, random_generator(*purpose))
            return labels.view(NOISE_BLOCK, count).to(self.images.device)

        return self._of_block(draw, "generator", "labels", update, rollbacks)

    def _of_block(self, draw, network, kind, update, rollbacks):
        """What draw(*purpose) draws for a block of a network's updates at once, of update number `update`."""
        block, position = divmod(update, NOISE_BLOCK)
        purpose = seed_after(rollbacks, self.seed), network, kind, block
        if self._blocks.get((network, kind), (None, None))[0] != purpose:
            self._blocks[network, kind] = purpose, draw(*purpose)
        return self._blocks[network, kind][1][position]


def steps_per_epoch(num_images, training):
    """Discriminator steps of one pass over the images; the last one may have fewer images."""
    return math.ceil(num_images / training.dis_batch_size)


def refuse_uneven_batches(training, num_images=None):
    """Raise UserError if the processes cannot share the batches of a training.

    num_images: if it is known, so that of the last batch of an epoch each process has an image at least.
    """
    count = size()
    for name in ("gen_batch_size", "dis_batch_size"):
        batch = getattr(training, name)
        if batch % count:
            cure = f"give a multiple of {count}, or start another number of them"
            raise UserError(f"--{name}: {count} processes cannot share {batch} evenly; {cure}")
    left = num_images % training.dis_batch_size if num_images else 0
    if 0 < left < count:
        problem = f"the last of an epoch has {left} of {num_images} images, too few for {count} processes"
        raise UserError(f"--dis_batch_size: {problem}; give another size, or start fewer processes")
