"""What each training step is given: real images and noise that depend on the step's number and on nothing else.

So a run can stop, go on, or repeat some steps, and sees the same numbers.
"""

import math

import torch

from utils.data.image_set import epoch_order
from utils.images import from_uint8
from utils.randomness import random_generator, seed_after

NOISE_BLOCK = 64  # steps whose noise is drawn at once


class StepInputs:
    """Gives the inputs of any range of steps of `images` (ResizedImages), in epochs of `steps_per_epoch` steps.

    `generator_every`: every so many steps, starting with step 0, there is noise for a generator update too.
    """

    def __init__(self, images, seed, *, batch_size, generator_batch_size, latent_dim, generator_every):
        self.images, self.seed, self.batch_size = images, seed, batch_size
        self.generator_batch_size, self.latent_dim, self.generator_every = (
            generator_batch_size,
            latent_dim,
            generator_every,
        )
        self.steps_per_epoch = math.ceil(images.num_images / batch_size)
        self._blocks, self._batches, self._next_step = {}, None, None

    def steps(self, first, last, rollbacks=0):
        """Yield (step, real (n, 3, R, R) float in [-1, 1], noise (n, latent_dim), generator noise or None) for first <= step < last.

        n is the batch size but for an epoch's last step, which has what is left over, as in the authors' code. After another number
        of rollbacks the noise is another.
        """
        for step in range(first, last):
            real = from_uint8(self._images(step))
            noise = self._noise("discriminator", step, 1, self.batch_size, rollbacks)[: len(real)]
            trains_generator = step % self.generator_every == 0
            generator_noise = (
                self._noise("generator", step, self.generator_every, self.generator_batch_size, rollbacks)
                if trains_generator
                else None
            )
            yield step, real, noise, generator_noise

    def _images(self, step):
        """The uint8 images of a step. Those who read them go on from step to step; they start anew for an epoch or after a jump."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        if step != self._next_step or batch == 0:
            order = epoch_order(self.images.num_images, self.seed, epoch)
            self._batches = self.images.batches(order[batch * self.batch_size :], self.batch_size)
        self._next_step = step + 1
        return next(self._batches)

    def _noise(self, network, step, every, count, rollbacks):
        """(count, latent_dim) for one step, out of a block drawn at once; `every` so many steps need some."""
        block, position = divmod(step // every, NOISE_BLOCK)
        purpose = seed_after(rollbacks, self.seed), network, "noise", block
        if self._blocks.get(network, (None, None))[0] != purpose:
            shape, device = (NOISE_BLOCK, count, self.latent_dim), self.images.device
            self._blocks[network] = (
                purpose,
                torch.randn(shape, generator=random_generator(*purpose, device=device), device=device),
            )
        return self._blocks[network][1][position]
