"""Sums over the features of many images, in float64, and a random sample of limited size.

So memory does not grow with the number of images, and scores do not depend on the batch size.
"""

import numpy as np
import torch

from utils.distributed import add_up, size

# Images whose features are kept for KID, precision and recall (80 MB at 2048 dimensions).
FEATURE_SAMPLE = 10_000


def sample_indices(num_rows, size, seed=0):
    """`size` random indices below `num_rows`, in ascending order.

    Random, because the first images of a sorted folder may all be of one class.
    """
    return np.sort(np.random.RandomState(seed).permutation(num_rows)[:size])


class RowSample:
    """A random sample of `size` of `num_rows` rows (at most all), collected batch by batch."""

    def __init__(self, num_rows, size):
        self.indices = sample_indices(num_rows, size)
        self.rows = None

    def add(self, rows, start):
        """Keep the rows that are in the sample. rows[0] has the index `start`."""
        if self.rows is None:
            self.load(rows.new_zeros((len(self.indices), *rows.shape[1:])))
        first, last = np.searchsorted(self.indices, (start, start + len(rows)))
        self.rows[first:last] = rows[self._indices[first:last] - start]

    def load(self, rows):
        """Go on from these rows."""
        self.rows = rows
        # Copied once, because each copy to a GPU waits for it.
        self._indices = torch.from_numpy(self.indices).to(rows.device)

    def add_up(self, *shape, dtype, device):
        """Add the rows that other processes have collected. The rest: shape and kind of a row."""
        if self.rows is None:  # this process had no batch
            self.load(torch.zeros(len(self.indices), *shape, dtype=dtype, device=device))
        add_up([self.rows])


class FeatureSums:
    """Sums over the features and logits of `num_images` images, as the metrics need them.

    splits: of the Inception score, 0 for no score. covariance: whether mean and covariance are needed.
    sample_size: images whose features are kept, 0 for none. The sums stay on `device`, and adding a batch
    never waits for a GPU.
    """

    def __init__(
        self, num_images, feature_dim, num_classes, device, *, splits=0, covariance=False, sample_size=0
    ):
        self.device, self.feature_dim = device, feature_dim
        self.num_images = num_images
        self.bounds = [i * num_images // splits for i in range(splits + 1)] if splits else None
        self.class_sum = self._zeros(splits, num_classes) if splits else None
        self.entropy_sum = self._zeros(splits) if splits else None
        self.feature_sum = self._zeros(feature_dim) if covariance else None
        self.outer_sum = self._zeros(feature_dim, feature_dim) if covariance else None
        self.sample = RowSample(num_images, sample_size) if sample_size else None

    def _zeros(self, *shape):
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def add(self, features, logits, start):
        """Add a batch: features (n, D) and logits (n, C) of the images start to start + n - 1."""
        if self.bounds:
            log_probabilities = logits.double().log_softmax(1)
            probabilities = log_probabilities.exp()
            entropies = (probabilities * log_probabilities).sum(1)
            for i, (first, last) in enumerate(zip(self.bounds[:-1], self.bounds[1:], strict=True)):
                if first < start + len(logits) and start < last:
                    rows = slice(max(first - start, 0), last - start)
                    self.class_sum[i] += probabilities[rows].sum(0)
                    self.entropy_sum[i] += entropies[rows].sum()
        if self.outer_sum is not None:
            values = features.double()
            self.feature_sum += values.sum(0)
            self.outer_sum.addmm_(values.T, values)
        if self.sample is not None:
            self.sample.add(features, start)

    def state_dict(self):
        """The sums so far, to go on from with `load_state_dict`."""
        state = {
            name: getattr(self, name) for name in ("class_sum", "entropy_sum", "feature_sum", "outer_sum")
        }
        return {**state, "rows": self.sample and self.sample.rows}

    def load_state_dict(self, state):
        """Go on from the sums of equal images, splits and sample."""
        for name in ("class_sum", "entropy_sum", "feature_sum", "outer_sum"):
            if state[name] is not None:
                getattr(self, name).copy_(state[name])
        if state["rows"] is not None:
            self.sample.load(state["rows"].to(self.device))

    def add_up(self):
        """Sum over the processes, each with its share of the images."""
        sums = self.class_sum, self.entropy_sum, self.feature_sum, self.outer_sum
        add_up([each for each in sums if each is not None])
        if self.sample is not None and size() > 1:
            self.sample.add_up(self.feature_dim, dtype=torch.float32, device=self.device)

    def inception_score(self):
        """Mean and standard deviation over the splits of exp(mean KL(p(y|x) || p(y))).

        The mean KL of a split is the mean of sum p log p, minus sum q log q, where q is the split's mean p.
        """
        counts = torch.tensor(self.bounds, dtype=torch.float64).diff()
        marginal = self.class_sum.cpu() / counts[:, None]
        divergence = self.entropy_sum.cpu() / counts - torch.xlogy(marginal, marginal).sum(1)
        scores = divergence.exp()
        return scores.mean().item(), scores.std(correction=0).item()

    def mean_and_covariance(self):
        """Mean (D,) and unbiased covariance (D, D) of the features, as in numpy.cov.

        Both are float64, on the CPU.
        """
        total = self.feature_sum
        scatter = self.outer_sum - torch.outer(total, total) / self.num_images
        scatter = (scatter + scatter.T) / 2
        return (total / self.num_images).cpu(), (scatter / (self.num_images - 1)).cpu()
