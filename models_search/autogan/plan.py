"""What an AutoGAN search is going to do, checked before anything is read or built."""

import math
from dataclasses import dataclass

import torch

from models_search.shared_gan.network import shared_networks
from utils.cli import UserError
from utils.options import refuse_other_size
from utils.training.inputs import steps_per_epoch
from utils.training.sizes import network_sizes


@dataclass(frozen=True)
class Plan:
    """The option groups that the search reads, and what follows from them."""

    data: object
    network: object
    cells: object
    weights: object
    training: object
    scoring: object
    run: object
    search: object
    beam: object
    autogan: object
    growing_iterations: tuple[int, ...]  # search iterations at which a cell is added

    @property
    def iterations(self):
        """Number of search iterations."""
        return self.autogan.max_search_iter

    @property
    def levels(self):
        """Number of cells in the end."""
        return 1 + len(self.growing_iterations)

    @property
    def resolutions(self):
        """Width and height of the images at each level, in pixels."""
        return [self.cells.bottom_width << cells for cells in range(1, self.levels + 1)]

    def level_at(self, iteration):
        """The level (0-based) that an iteration searches."""
        return sum(iteration >= step for step in self.growing_iterations)

    def is_last(self, iteration):
        """Whether the search ends with this iteration."""
        return iteration + 1 == self.iterations

    def ends_level(self, iteration):
        """Whether the best architectures are chosen after this iteration."""
        return self.is_last(iteration) or self.level_at(iteration + 1) > self.level_at(iteration)

    def shows_grid(self, iteration):
        """Whether sample images are drawn after this iteration."""
        return self.is_last(iteration) or (iteration + 1) % self.autogan.val_freq == 0

    def shared_steps(self, num_images):
        """Training steps of the shared GAN in one iteration."""
        return self.autogan.shared_epoch * steps_per_epoch(num_images, self.training)

    @property
    def controller_steps(self):
        """Updates of the controller in one iteration; random search has none."""
        return 0 if self.autogan.controller == "random" else self.autogan.ctrl_step

    def network_sizes(self):
        """Parameters and MACs of the shared networks, counted without allocating them."""
        with torch.device("meta"):
            networks = shared_networks(self.levels, self.network.latent_dim, self.cells)
            return network_sizes(*networks, self.data.img_size)

    def describe(self):
        """The plan as plain data, for --dry_run."""
        updates = self.iterations * self.controller_steps
        scored = updates * self.autogan.ctrl_sample_batch + self.levels * self.autogan.num_candidate
        return {
            "architecture": "searched",
            "resolution": self.data.img_size,
            "resolutions": self.resolutions,
            "growing_iterations": list(self.growing_iterations),
            **self.network_sizes(),
            "search_iterations": self.iterations,
            "controller_steps": updates,
            "scored_images": scored * self.search.rl_num_eval_img,
        }


GROUPS = ("data", "network", "cells", "weights", "training", "scoring", "run", "search", "beam", "autogan")


def make_plan(options):
    """The Plan of resolved options. Raises UserError if they do not fit together."""
    autogan, beam = options.autogan, options.beam
    if options.search.reward == "swd":
        raise UserError("--reward: swd is a reward of --method dggan and proggan; use is or fid")
    if beam.topk > autogan.num_candidate:
        candidates = autogan.num_candidate
        raise UserError(
            f"--topk: cannot keep {beam.topk} of --num_candidate {candidates}; lower --topk or draw more"
        )
    if autogan.controller == "random":
        for name in ("ctrl_step", "ctrl_sample_batch", "ctrl_lr", "entropy_coeff", "baseline_decay"):
            if name in options.typed:
                raise UserError(
                    f"--{name}: without effect with --controller random, which learns nothing; leave it out"
                )
    groups = {name: getattr(options, name) for name in GROUPS}
    return Plan(**groups, growing_iterations=_growing_iterations(options))


def _growing_iterations(options):
    """The search iterations at which a cell is added: one for each cell but the first."""
    autogan, img_size, bottom_width = options.autogan, options.data.img_size, options.cells.bottom_width
    if autogan.grow_steps is not None:
        name, steps, unused = "--grow_steps", autogan.grow_steps, ()
    else:
        added = max(1, round(math.log2(img_size / bottom_width))) - 1
        name, steps = "--grow_step1, --grow_step2", (autogan.grow_step1, autogan.grow_step2)[:added]
        unused = ("grow_step1", "grow_step2")[added:]
    last = autogan.max_search_iter
    if list(steps) != sorted(set(steps)) or (steps and not 0 < min(steps) <= max(steps) < last):
        raise UserError(
            f"{name}: {list(steps)} must rise between 0 and --max_search_iter {last}; "
            "give smaller or distinct steps"
        )
    cure = " or change --grow_steps (an iteration for each cell but the first) or --bottom_width"
    maker = f"{1 + len(steps)} cells ({name}) on --bottom_width {bottom_width}"
    refuse_other_size(img_size, bottom_width << (1 + len(steps)), maker, cure)
    for option in unused:
        if option in options.typed:
            raise UserError(
                f"--{option}: without effect at --img_size {img_size}, which adds {len(steps)} cells; omit it"
            )
    return tuple(steps)
