"""What an AutoGAN search is going to do, checked before anything is read or built.

Multi-level (--method autogan): a cell more at each growing iteration, and a controller for it. Single-level
(--method slas, section 4.3.4): all cells from the start, and one controller for all of them.
"""

import math
from dataclasses import dataclass

from models_search.autogan.controller import Controller
from models_search.restrictions import restricted_space
from models_search.search_space import number_of_architectures
from models_search.shared_gan.checks import (
    CELL_BYTES, check_machine, check_options, number_of_cells, refuse_many_cells,
)  # fmt: skip
from models_search.shared_gan.network import shared_gan_memory, shared_network_sizes
from models_search.shared_gan.progress import periodic_images
from utils.cli import UserError
from utils.data.labels import Classes
from utils.data.load import load_classes
from utils.options import refuse_other_size
from utils.training.memory import FLOAT_BYTES, PARAMETER_BYTES, Memory, on_meta
from utils.training.sizes import count_parameters

STATE_VALUES = 6  # for each hidden unit: hidden state, cell state and the LSTM's four gates

# An iteration against one at the level below; measured two to four times (docs/BENCHMARKS.md).
COST_OF_LEVELS = 3


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
    shared_gan: object
    multi_level: object
    controller: object
    levels: int  # number of cells in the end
    grow_steps: tuple[int, ...]  # search iterations at which a cell is added
    space: object  # the RestrictedSpace of the whole architectures, or None
    classes: Classes | None = None  # of a conditional GAN

    @property
    def conditioning(self):
        """How the networks are conditioned."""
        return self.labels.conditioning(self.classes)

    @property
    def iterations(self):
        """Number of search iterations."""
        return self.shared_gan.max_search_iter

    @property
    def is_single_level(self):
        return self.search.method == "slas"

    @property
    def first_level(self):
        """The level (0-based) of the first iterations: that of the last cell then."""
        return self.levels - 1 - len(self.grow_steps)

    @property
    def resolutions(self):
        """Width and height of the images at each searched level, in pixels."""
        return [self.cells.bottom_width << cells for cells in range(self.first_level + 1, self.levels + 1)]

    def first_cell(self, level):
        """The first cell (0-based) that the controller of a level samples; its last one is `level`."""
        return level if level > self.first_level else 0

    def level_at(self, iteration):
        """The level (0-based) that an iteration searches."""
        return self.first_level + sum(iteration >= step for step in self.grow_steps)

    def next_iteration(self, iteration, out_of_time=False):
        """The iteration after this one: out of time the first of the next level, or the end."""
        if not out_of_time:
            return iteration + 1
        return min((step for step in self.grow_steps if step > iteration), default=self.iterations)

    def deadline(self, level):
        """When a level ends at the latest, in seconds of the run.

        The budget is shared in proportion to the planned iterations, each reckoned three times as expensive
        as one at the level below. What a level leaves is the next ones'.
        """
        bounds = (0, *self.grow_steps, self.iterations)
        lengths = [end - start for start, end in zip(bounds, bounds[1:])]
        costs = [length * COST_OF_LEVELS**index for index, length in enumerate(lengths)]
        return self.search.budget_seconds * sum(costs[: level - self.first_level + 1]) / sum(costs)

    def shows_grid(self, iteration):
        """Whether sample images are drawn after this iteration, besides the last one."""
        return (iteration + 1) % self.shared_gan.val_freq == 0

    @property
    def is_random(self):
        """Whether cells are drawn uniformly."""
        return not self.is_single_level and self.multi_level.controller == "random"

    @property
    def controller_steps(self):
        """Updates of the controller in one iteration; random search has none."""
        return 0 if self.is_random else self.controller.ctrl_step

    @property
    def bytes_of_a_draw(self):
        """The least memory of an architecture while it is drawn: its cells, and the controller's state."""
        return CELL_BYTES * self.levels + STATE_VALUES * FLOAT_BYTES * self.controller.hid_size

    def memory(self):
        """The Memory of the search: shared networks, controller, and the architectures drawn at once."""
        memory, draws = shared_gan_memory(self), {}
        draws["--ctrl_sample_batch"] = self.controller.ctrl_sample_batch * self.bytes_of_a_draw
        draws["--num_candidate"] = self.shared_gan.num_candidate * self.bytes_of_a_draw
        if self.is_random:
            return Memory(memory.networks, memory.batches | draws)
        with on_meta("--hid_size"):
            level = self.levels - 1
            first = self.first_cell(level)
            controller = Controller(level, self.controller.hid_size, first, self.space)
        weights = {"--hid_size": PARAMETER_BYTES * count_parameters(controller)}
        return Memory(memory.networks | weights, memory.batches | draws)

    def describe(self):
        """The plan as plain data, for --dry_run."""
        shared, updates = self.shared_gan, self.iterations * self.controller_steps
        rewards = updates * self.controller.ctrl_sample_batch + len(self.resolutions) * shared.num_candidate
        scored_images = rewards * self.search.rl_num_eval_img
        scored_images += periodic_images(self)
        return {
            "architecture": "searched",
            "resolution": self.data.img_size,
            "resolutions": self.resolutions,
            "grow_steps": list(self.grow_steps),
            "architectures_in_space": number_of_architectures(self.levels, self.space),
            **shared_network_sizes(self),
            "memory_bytes": self.memory().total,
            "search_iterations": self.iterations,
            "controller_steps": updates,
            "scored_images": scored_images,
        }


GROUPS = ("data", "labels", "network", "cells", "weights", "training", "recipe", "scoring", "run", "search")
GROUPS += ("beam", "shared_gan", "multi_level", "controller")
# Options of a controller that learns.
LEARNING = ("ctrl_step", "ctrl_sample_batch", "ctrl_lr", "entropy_coeff", "baseline_decay", "reuse_rewards")


def make_plan(options):
    """The Plan of resolved options. Raises UserError if they do not fit together."""
    check_options(options)
    groups = {name: getattr(options, name) for name in GROUPS}
    groups["classes"] = load_classes(options.data, options.labels, options.reads_no_data)
    if options.search.method == "slas":
        return _plan(options, groups, number_of_cells(options), ())
    if options.multi_level.controller == "random":
        for name in LEARNING:
            if name in options.typed:
                raise UserError(
                    f"--{name}: without effect with --controller random, which learns nothing; leave it out"
                )
    steps = _grow_steps(options)
    return _plan(options, groups, 1 + len(steps), steps)


def _plan(options, groups, levels, grow_steps):
    widths = options.network.latent_dim, options.cells, options.labels.conditioning(groups["classes"])
    space = restricted_space(levels, options.space, *widths)
    plan = Plan(**groups, levels=levels, grow_steps=grow_steps, space=space)
    check_machine(plan)
    return plan


def _grow_steps(options):
    """The search iterations at which a cell is added: one for each cell but the first."""
    growing, img_size, bottom_width = options.multi_level, options.data.img_size, options.cells.bottom_width
    if growing.grow_steps is not None:
        name, steps, unused = "--grow_steps", growing.grow_steps, ()
    else:
        added = max(1, round(math.log2(img_size / bottom_width))) - 1
        name, steps = "--grow_step1, --grow_step2", (growing.grow_step1, growing.grow_step2)[:added]
        unused = ("grow_step1", "grow_step2")[added:]
    refuse_many_cells(1 + len(steps), name)
    last = options.shared_gan.max_search_iter
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
