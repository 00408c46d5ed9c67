"""Score a generator: sample its images from fixed noise and compare them with real ones."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from utils.cli import UserError
from utils.distributed import own_order, size
from utils.inception.feature_net import load_feature_net
from utils.metrics.evaluate import evaluate, evaluate_both
from utils.metrics.real_statistics import load_fid_stat, real_statistics
from utils.precision import multiplying
from utils.randomness import random_generator


def noise_sampler(generate, latent_dim, seed, *purpose, device, stop_if_asked=None, classes=None):
    """A function sample(n) -> generate(noise (n, latent_dim)), for `evaluate`.

    The noise depends only on seed, purpose and the number of images sampled before, by other processes, too.
    stop_if_asked: called before every batch, because scoring can take long; raises if a signal has come.
    classes: the Classes of a conditional generator, which then gets labels as frequent as in the data.
    Several processes call it together, see `evaluate`.
    """
    noise = random_generator(seed, *purpose, device=device)
    draw_labels = label_sampler(classes, seed, *purpose, device=device) if classes else None
    return _NoiseSampler(generate, latent_dim, device, noise, draw_labels, stop_if_asked)


@dataclass
class _NoiseSampler:
    generate: Callable
    latent_dim: int
    device: torch.device
    random: torch.Generator
    draw_labels: Callable | None
    stop_if_asked: Callable | None

    def __call__(self, count):
        if self.stop_if_asked and size() == 1:
            self.stop_if_asked()
        noise, labels = self._draw(count)
        with multiplying("float32", self.device):
            return self.generate(noise, **labels)

    def skip(self, count):
        """Leave a batch to another process."""
        self._draw(count)

    def _draw(self, count):
        """(noise, {"labels": labels}, or {} without classes)."""
        labels = {"labels": self.draw_labels(count)} if self.draw_labels else {}
        return torch.randn(count, self.latent_dim, generator=self.random, device=self.device), labels


@dataclass
class StoredImages:
    """A function sample(n) -> the next n images of ResizedImages in an order (int64), for `evaluate`."""

    images: object
    order: torch.Tensor
    batch_size: int

    def __post_init__(self):
        own = own_order(self.order, self.batch_size)
        self._batches = self.images.batches(own, self.batch_size)

    def __call__(self, count):
        return next(self._batches)

    def skip(self, count):
        """Nothing is read for another process."""


def label_sampler(classes, seed, *purpose, device):
    """A function draw(n) -> labels (n,): those of the images that `noise_sampler` samples."""
    random = random_generator(seed, *purpose, "labels")
    return lambda count: classes.draw(count, random).to(device)


def load_feature_nets(name, *, backend="torch", **options):
    """The feature networks to score with, as a list.

    Backend "both" gives two, torch's and TensorFlow's; any other gives one. options: further arguments of
    load_feature_net.
    """
    backends = ("torch", "tf") if backend == "both" else (backend,)
    return [load_feature_net(name, backend=each, **options) for each in backends]


def load_real_statistics(
    feature_nets, images, *, fid_stat=None, sample_size=0, data=None, split=None, resolution=None
):
    """A list of RealStatistics, one for each feature network.

    They are read from the file `fid_stat`, or computed from `images` (ResizedImages) once and cached.
    data, split, resolution: what the file must not contradict, see load_fid_stat.
    sample_size: features needed, 0 for none. Raises UserError if the file has none.
    """
    if not fid_stat:
        return [real_statistics(images, net, sample_size=sample_size) for net in feature_nets]
    reals = [
        load_fid_stat(fid_stat, net.feature_dim, net.name, data=data, split=split, resolution=resolution)
        for net in feature_nets
    ]
    if sample_size and reals[0].sample is None:
        raise UserError(
            f"--fid_stat: {fid_stat} holds no features, which --metrics kid and precision_recall need; "
            "make it --with_features"
        )
    return reals


def score_generator(
    generator, feature_nets, reals, *, num_images, seed, batch_size=100, splits=10, metrics=("is", "fid"),
    real_images=None, progress="scoring", stop_if_asked=None, classes=None,
):  # fmt: skip
    """Score `num_images` images of a generator in eval mode. Its mode is restored afterwards.

    The noise is the same for the same seed. The arguments are those of evaluate and noise_sampler.
    Returns (Scores, differences between two backends, or None with one network); see evaluate_both.
    """
    was_training, device = generator.training, next(generator.parameters()).device
    sample = noise_sampler(
        generator.eval(), generator.latent_dim, seed, "score", device=device, stop_if_asked=stop_if_asked,
        classes=classes,
    )  # fmt: skip
    options = dict(
        batch_size=batch_size, splits=splits, metrics=metrics, real_images=real_images, seed=seed,
        progress=progress,
    )  # fmt: skip
    try:
        if len(feature_nets) == 2:
            first, _, differences = evaluate_both(sample, num_images, feature_nets, reals=reals, **options)
            return first, differences
        return evaluate(sample, num_images, feature_nets[0], real=reals[0], **options), None
    finally:
        generator.train(was_training)
