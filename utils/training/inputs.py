"""The inputs of training steps: real images and noise that depend only on seed and step number.

So a run can stop, go on, or repeat some steps, and still trains on the same numbers.
"""

import math
from typing import NamedTuple

import torch

from utils.data.image_set import epoch_order
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
        noise is different.
        """
        batch_size, generator_batch_size = self.training.dis_batch_size, self.training.gen_batch_size
        for step in range(first, last):
            real = from_uint8(self._images(step))
            noise = self._noise("discriminator", step, batch_size, rollbacks)[: len(real)]
            labels = self._labels(step) if self.classes else None
            generator_noise = generator_labels = None
            if step % self.training.n_critic == 0:
                update = step // self.training.n_critic
                generator_noise = self._noise("generator", update, generator_batch_size, rollbacks)
                if self.classes:
                    generator_labels = self._drawn_labels(update, generator_batch_size, rollbacks)
            yield Batch(step, real, noise, generator_noise, labels, generator_labels)

    def _images(self, step):
        """The uint8 images of a step.

        Reading goes on from step to step. It starts anew at each epoch and after a jump.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        batch_size = self.training.dis_batch_size
        if step != self._next_step or position == 0:
            self._order = epoch_order(self.images.num_images, self.seed, epoch)
            self._batches = self.images.batches(self._order[position * batch_size :], batch_size)
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
