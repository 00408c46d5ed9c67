"""The reward of an architecture: how good its images are in the shared GAN (section 3.3.2)."""

from dataclasses import dataclass
from functools import partial
from typing import Callable

from utils.metrics.evaluate import NonFiniteImages, evaluate
from utils.metrics.generator import noise_sampler
from utils.metrics.scores import figure_name
from utils.training.loop import refuse_non_finite

LOWEST = {"is": 1.0, "fid": 0.0}
NAMES = {"is": "IS", "fid": "1/FID"}


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

    @property
    def name(self):
        """The reward's label, with the feature network's name unless that is Inception."""
        return figure_name(NAMES[self.search.reward], self.feature_net.name)

    def __call__(self, generator, architecture, *purpose):
        """The reward of an architecture, higher is better.

        The noise depends only on seed, purpose and architecture. Leaves `generator` in eval mode. Images that
        are not finite get the lowest reward. Raises Diverged if the reward itself is not finite.
        """
        metric, device = self.search.reward, next(generator.parameters()).device
        generate = partial(generator.eval(), architecture=architecture)
        seed = (self.seed, *purpose, str(architecture))
        sample = noise_sampler(
            generate, generator.latent_dim, *seed, device=device, stop_if_asked=self.stop_if_asked
        )
        real = self.images.statistics_at(architecture.levels - 1) if metric == "fid" else None
        protocol = {"splits": self.scoring.is_splits, "batch_size": self.scoring.eval_batch_size}
        images = self.search.rl_num_eval_img
        try:
            scores = evaluate(sample, images, self.feature_net, metrics=(metric,), real=real, **protocol)
        except NonFiniteImages:
            self.log(f"{architecture} makes images that are not finite: it gets the lowest reward")
            return LOWEST[metric]
        reward = scores.is_mean if metric == "is" else 1 / scores.fid
        refuse_non_finite({f"reward of {architecture}": reward}, " ".join(map(str, purpose)))
        return reward
