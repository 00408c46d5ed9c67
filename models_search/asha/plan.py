"""What an ASHA search is going to do, checked before anything is read or built."""

import math
from dataclasses import dataclass

from models.autogan.architecture import Architecture
from models.families import FAMILIES, family
from models.layers.fast_form import fast_form
from models_search.restrictions import restricted_space
from models_search.search_space import (
    every_cell, number_of_architectures, random_architecture, space_name,
)  # fmt: skip
from models_search.shared_gan.checks import check_cells_and_reward, number_of_cells
from utils.cli import UserError
from utils.data.labels import Classes
from utils.data.load import load_classes
from utils.options import refuse_halvings
from utils.precision import check_precision
from utils.randomness import random_generator
from utils.run.machine import pick_device
from utils.run.workers import check_workers, memory_of_task
from utils.training.checks import check_recipe
from utils.training.inputs import steps_per_epoch
from utils.training.losses import LOSSES
from utils.training.memory import on_meta, training_memory
from utils.training.sizes import network_sizes

DEFAULT_TRIALS = 64
WIDTHS = FAMILIES["autogan"].widths


@dataclass(frozen=True)
class Plan:
    """The option groups that the search reads, and what follows from them."""

    data: object
    labels: object
    network: object
    cells: object
    weights: object
    training: object
    recipe: object
    scoring: object
    run: object
    search: object
    beam: object
    independent: object
    independent_average: object
    asha: object
    levels: int  # number of cells
    space: object  # the RestrictedSpace, or None
    classes: Classes | None = None  # of a conditional GAN

    @property
    def conditioning(self):
        """How the networks are conditioned."""
        return self.labels.conditioning(self.classes)

    @property
    def most_trials(self):
        """How many architectures are begun at most; None: no limit."""
        if self.asha.max_trials is None and self.search.budget_hours is None:
            return DEFAULT_TRIALS
        return self.asha.max_trials

    def architecture(self, index):
        """The architecture of a trial: every one is equally likely."""
        random = random_generator(self.run.random_seed, "trial", index)
        return random_architecture(self.levels, random, self.space)

    def iterations(self, rung, num_images):
        """Generator iterations from a trial's start to the end of a rung; at least its passes."""
        steps = self.asha.rungs[rung] * steps_per_epoch(num_images, self.training)
        return math.ceil(steps / self.training.n_critic)

    def _networks(self, architecture):
        outputs = LOSSES[self.training.loss].outputs
        widths = self.network.latent_dim, self.cells
        return family(architecture).networks(architecture, *widths, outputs, self.conditioning)

    def job_size(self, rung, num_images):
        """Generator iterations from the rung below to this one."""
        below = self.iterations(rung - 1, num_images) if rung else 0
        return self.iterations(rung, num_images) - below

    def memory(self):
        """The Memory of training the smallest architecture of the space; larger ones may still not fit."""
        name = space_name(self.space)
        smallest = Architecture(tuple(every_cell(level, name)[0] for level in range(self.levels)))
        with on_meta(WIDTHS):
            networks = self._networks(smallest)
            if self.run.is_fast:
                networks = tuple(map(fast_form, networks))
            batch, resolution = self.scoring.eval_batch_size, self.data.img_size
            details = {"widths": WIDTHS, "averages": 1, "parts": self.recipe.accumulate}
            return training_memory(networks, self.training, batch, resolution, **details)

    def describe(self):
        """The plan as plain data, for --dry_run."""
        random = self.architecture(0)
        with on_meta(WIDTHS):
            sizes = network_sizes(*self._networks(random), self.data.img_size)
        return {
            "architecture": "searched",
            "resolution": self.data.img_size,
            "architectures_in_space": number_of_architectures(self.levels, self.space),
            "discriminator_parameters": sizes["discriminator_parameters"],
            "discriminator_macs": sizes["discriminator_macs"],
            "memory_bytes": self.memory().total,
            "rungs": list(self.asha.rungs),
            "trials": self.most_trials,
        }


GROUPS = ("data", "labels", "network", "cells", "weights", "training", "recipe", "scoring", "run", "search")
GROUPS += ("beam", "independent", "independent_average", "asha")


def make_plan(options):
    """The Plan of resolved options. Raises UserError if they do not fit together."""
    rungs = options.asha.rungs
    check_cells_and_reward(options)
    if list(rungs) != sorted(set(rungs)):
        raise UserError(f"--rungs: {list(rungs)} must rise; give each rung more passes than the one below")
    most = options.asha.max_trials
    if most is not None and options.beam.topk > most:
        raise UserError(
            f"--topk: cannot keep {options.beam.topk} of --max_trials {most}; lower --topk or try more"
        )
    groups = {name: getattr(options, name) for name in GROUPS}
    levels = number_of_cells(options)
    classes = load_classes(options.data, options.labels, options.reads_no_data)
    widths = options.network.latent_dim, options.cells, options.labels.conditioning(classes)
    space = restricted_space(levels, options.space, *widths)
    plan = Plan(**groups, levels=levels, space=space, classes=classes)
    check_recipe(plan.training, plan.recipe, "autogan")
    refuse_halvings(options.cells.df_halvings, plan.levels)
    device = pick_device(options.run.device)
    check_precision("--precision", options.training.precision, device)
    check_workers(options.independent, options.run.device)
    plan.memory().check(memory_of_task(options.independent, options.run.device))
    return plan
