"""The reward of an architecture: how good its images are in the shared GAN (section 3.3.2)."""

from dataclasses import dataclass
from functools import partial
from typing import Callable, NamedTuple

from models.autogan.architecture import Architecture
from utils.metrics.evaluate import NonFiniteImages, evaluate
from utils.metrics.generator import noise_sampler
from utils.metrics.scores import figure_name
from utils.training.loop import refuse_non_finite

LOWEST = {"is": 1.0, "fid": 0.0}
NAMES = {"is": "IS", "fid": "1/FID"}


class Scored(NamedTuple):
    """An architecture and how its images in the shared GAN were scored."""

    architecture: Architecture
    score: float  # the reward, higher is better
    purpose: str
    images: int
    is_mean: float | None = None  # None: not asked for, or the images were not finite
    fid: float | None = None


@dataclass(frozen=True)
class Reward:
    """The Inception score of an architecture in a shared generator, or 1 / FID (section 4.3.2).

    search, scoring: the option groups of these names. images: LevelImages. log(line): writes to the run's
    log. stop_if_asked(): called before every batch; raises if a signal has come.
    """

    search: object
    scoring: object
    seed: int
    feature_net: object
    images: object
    log: Callable
    stop_if_asked: Callable
    classes: object = None  # the Classes of a conditional GAN

    @property
    def name(self):
        """The reward's label, with the feature network's name unless that is Inception."""
        return figure_name(NAMES[self.search.reward], self.feature_net.name)

    def __call__(self, generator, architecture, *purpose, metrics=None, images=None, splits=None):
        """Score an architecture. Returns a Scored.

        purpose: a word, then counters; the noise depends only on seed, purpose and architecture. By default
        the reward's metric alone is computed, from --rl_num_eval_img images in --is_splits parts. Images that
        are not finite get the lowest reward. The generator's mode is restored. Raises Diverged if the reward
        itself is not finite.
        """
        metric, device = self.search.reward, next(generator.parameters()).device
        metrics, images = metrics or (metric,), images or self.search.rl_num_eval_img
        generate, was_training = partial(generator, architecture=architecture), generator.training
        seed = (self.seed, *purpose, str(architecture))
        sample = noise_sampler(
            generate, generator.latent_dim, *seed, device=device, stop_if_asked=self.stop_if_asked,
            classes=self.classes,
        )  # fmt: skip
        real = self.images.statistics_at(architecture.levels - 1) if "fid" in metrics else None
        splits, batch_size = splits or self.scoring.is_splits, self.scoring.eval_batch_size
        protocol = {"metrics": metrics, "splits": splits, "batch_size": batch_size}
        generator.eval()
        try:
            scores = evaluate(sample, images, self.feature_net, real=real, **protocol)
        except NonFiniteImages:
            self.log(f"{architecture} makes images that are not finite: it gets the lowest reward")
            return Scored(architecture, LOWEST[metric], purpose[0], images)
        finally:
            generator.train(was_training)
        reward = scores.is_mean if metric == "is" else 1 / scores.fid
        refuse_non_finite({f"reward of {architecture}": reward}, " ".join(map(str, purpose)))
        return Scored(architecture, reward, purpose[0], images, scores.is_mean, scores.fid)
