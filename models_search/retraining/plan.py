"""What the training of one architecture is going to do."""

from dataclasses import dataclass

import torch

from models.families import family
from utils.training.inputs import steps_per_epoch
from utils.training.sizes import network_sizes


@dataclass(frozen=True)
class TrainingPlan:
    """An architecture, the option groups that its training reads, and its length. Picklable.

    schedule: the group `derive`, or anything with its lr_decay, ema_decay, val_freq, sample_freq and
    score_start. The length is either `iterations` of the generator or `passes` over the data.
    """

    architecture: object
    data: object
    network: object
    cells: object
    weights: object
    training: object
    scoring: object
    run: object
    schedule: object
    num_eval_imgs: int
    fid_stat: str | None = None
    iterations: int | None = None
    passes: int | None = None

    def total_steps(self, num_images):
        """Discriminator steps of the whole training."""
        if self.iterations is not None:
            return self.iterations * self.training.n_critic
        return self.passes * steps_per_epoch(num_images, self.training)

    def new_networks(self):
        """(generator, discriminator) of the architecture, not yet initialised."""
        return family(self.architecture).networks(self.architecture, self.network.latent_dim, self.cells)

    def describe(self):
        """The plan as plain data, for --dry_run: no data set is read."""
        with torch.device("meta"):
            sizes = network_sizes(*self.new_networks(), self.data.img_size)
        return {
            "architecture": str(self.architecture),
            "resolution": self.data.img_size,
            **sizes,
            "generator_steps": self.iterations,
            "discriminator_steps": self.iterations and self.iterations * self.training.n_critic,
        }


GROUPS = ("data", "network", "cells", "weights", "training", "scoring", "run")


def training_plan(options, architecture):
    """The TrainingPlan of the resolved options of train_derived.py.

    --max_epoch counts as the authors' code does: n_critic passes over the data are one epoch.
    """
    groups = {name: getattr(options, name) for name in GROUPS}
    derive, evaluation = options.derive, options.evaluation
    if derive.max_epoch is None:
        length = {"iterations": derive.max_iter}
    else:
        length = {"passes": derive.max_epoch * options.training.n_critic}
    scores = {"num_eval_imgs": evaluation.num_eval_imgs, "fid_stat": evaluation.fid_stat}
    return TrainingPlan(architecture, **groups, schedule=derive, **scores, **length)
