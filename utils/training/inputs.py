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
    count: int | None = None  # where processes share the batch: the images of all of them together


class StepInputs:
    """The batches of any range of steps, in epochs of `steps_per_epoch` steps.

    images: ResizedImages. training: the training options; batch sizes and n_critic are read here. Step 0 and
    every n_critic-th step train the generator.
    """

    def __init__(self, images, seed, training, latent_dim):
        self.images, self.seed, self.training, self.latent_dim = images, seed, training, latent_dim
        self.steps_per_epoch = steps_per_epoch(images.num_images, training)
        self._noise_blocks, self._batches, self._next_step = {}, None, None

    def batches(self, first, last, rollbacks=0):
        """Yield the Batch of each step, first <= step < last.

        The last batch of an epoch has the images that are left, as in the authors' code. After a rollback the
        noise is different. Several processes get the rows of distributed.own_rows of each batch.
        """
        batch_size, generator_batch_size = self.training.dis_batch_size, self.training.gen_batch_size
        for step in range(first, last):
            real, count = from_uint8(self._images(step)), self._count(step)
            noise = self._noise("discriminator", step, batch_size, rollbacks)[own_rows(count)]
            generator_noise = None
            if step % self.training.n_critic == 0:
                generator_noise = self._noise(
                    "generator", step // self.training.n_critic, generator_batch_size, rollbacks
                )[own_rows(generator_batch_size)]
            yield Batch(step, real, noise, generator_noise, count)

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
            order = epoch_order(self.images.num_images, self.seed, epoch)[position * batch_size :]
            own = torch.cat([part[own_rows(len(part))] for part in order.split(batch_size)])
            self._batches = self.images.batches(own, batch_size // size())
        self._next_step = step + 1
        return next(self._batches)

    def _noise(self, network, update, count, rollbacks):
        """Noise (count, latent_dim) for a network's update number `update`.

        It is drawn for a block of updates at once.
        """
        block, position = divmod(update, NOISE_BLOCK)
        purpose = seed_after(rollbacks, self.seed), network, "noise", block
        if self._noise_blocks.get(network, (None, None))[0] != purpose:
            shape, device = (NOISE_BLOCK, count, self.latent_dim), self.images.device
            noise = torch.randn(shape, generator=random_generator(*purpose, device=device), device=device)
            self._noise_blocks[network] = purpose, noise
        return self._noise_blocks[network][1][position]


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
