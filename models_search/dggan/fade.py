"""How the new part of a grown pair of networks fades in, in the networks and in the real images."""

from dataclasses import dataclass
from functools import partial

import torch

from models.growing.growth import fade_images
from utils.training.adversarial import StepFunctions
from utils.training.inputs import StepInputs


class Fade:
    """A growth's fade: rises linearly from 0 at step 0 to 1 at step `steps`, and stays there."""

    def __init__(self, steps, device):
        self.steps = steps
        self._now = torch.zeros((), device=device)  # a recorded step reads it from the device

    def at(self, step):
        """The fade at a step, a float in [0, 1]."""
        return min(1.0, step / self.steps) if self.steps else 1.0

    def functions_at(self, gan, loss_at, recipe_at, step):
        """The StepFunctions of a step, with the same fade in both networks."""
        fade = self.at(step)
        if fade == 1:
            return StepFunctions(gan.generator, gan.discriminator, loss_at(step), "grown", recipe_at(step))
        self._now.fill_(fade)
        generate, discriminate = (
            partial(network, fade=self._now) for network in (gan.generator, gan.discriminator)
        )
        return StepFunctions(generate, discriminate, loss_at(step), "fading", recipe_at(step))


@dataclass
class FadedInputs:
    """StepInputs' batches while a new resolution fades in: the real images fade as the networks do."""

    inputs: StepInputs
    fade: Fade

    def batches(self, first, last, rollbacks=0):
        for batch in self.inputs.batches(first, last, rollbacks):
            yield batch._replace(real=fade_images(batch.real, self.fade.at(batch.step)))
