"""Dynamic reset: tells from the losses that the shared GAN has collapsed (section 3.2)."""

import numpy as np


class LossWindow:
    """The most recent values of one loss, at most `size`."""

    def __init__(self, size):
        self.size, self.values = size, np.empty(0)

    def push(self, losses):
        """Add losses in order. Returns an array of len(losses) + 1 variances.

        They are the window's population variance before these losses, then after each of them; infinite while
        the window is not full.
        """
        history = np.concatenate([self.values, np.asarray(losses, dtype=np.float64)])
        variances = np.full(len(losses) + 1, np.inf)
        if len(history) >= self.size:
            full = np.lib.stride_tricks.sliding_window_view(history, self.size).var(axis=1)
            variances[-len(full) :] = full
        self.values = history[-self.size :]
        return variances


class CollapseDetector:
    """The authors' rule: the GAN has collapsed if the variance of either loss is below the threshold.

    It applies once the generator's window is full. The paper speaks of the standard deviation in one place
    and of the variance in another; the authors' code compares the variance.
    """

    def __init__(self, window=500, threshold=1e-3):
        self.generator, self.discriminator, self.threshold = LossWindow(window), LossWindow(window), threshold

    def first_collapse(self, discriminator_losses, generator_losses):
        """Add the losses of some steps; the generator's is None at a step that did not train it.

        Returns the index of the first step after which the rule holds, or None. After a collapse both windows
        are empty; the losses of later steps are not added.
        """
        generator_losses = np.array(generator_losses, dtype=np.float64)  # None becomes NaN
        trained = ~np.isnan(generator_losses)
        generator = self.generator.push(generator_losses[trained])[np.cumsum(trained)]
        discriminator = self.discriminator.push(discriminator_losses)[1:]
        collapsed = np.isfinite(generator) & (np.minimum(generator, discriminator) < self.threshold)
        if not collapsed.any():
            return None
        self.generator.values = self.discriminator.values = np.empty(0)
        return int(collapsed.argmax())

    def state_dict(self):
        return {
            "generator": self.generator.values.tolist(),
            "discriminator": self.discriminator.values.tolist(),
        }

    def load_state_dict(self, state):
        self.generator.values = np.array(state["generator"], dtype=np.float64)
        self.discriminator.values = np.array(state["discriminator"], dtype=np.float64)
