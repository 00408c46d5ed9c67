"""What an AutoGAN search is going to do, checked before anything is read or built."""

import math
from dataclasses import dataclass

from models.autogan.architecture import Architecture
from models.families import FAMILIES
from models.layers.fast_form import fast_form
from models_search.autogan.controller import Controller
from models_search.search_space import every_cell
from models_search.shared_gan.network import shared_networks
from utils.cli import UserError
from utils.options import refuse_other_size
from utils.precision import check_precision
from utils.run.machine import device_memory, pick_device
from utils.training.inputs import steps_per_epoch
from utils.training.memory import FLOAT_BYTES, PARAMETER_BYTES, Memory, on_meta, training_memory
from utils.training.sizes import count_parameters, network_sizes

MOST_CELLS = 10  # each one has twice as many candidates as the one before: 18,432 in the end
WIDTHS = FAMILIES["autogan"].widths


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

    def sizes_and_memory(self):
        """(parameters and MACs of the shared networks, Memory of the search), counted without allocating."""
        resolution, scoring = self.data.img_size, self.scoring
        with on_meta(WIDTHS):
            networks = shared_networks(self.levels, self.network.latent_dim, self.cells)
            sizes = network_sizes(*networks, resolution)
            if self.run.is_fast:
                networks = tuple(map(fast_form, networks))
            cheapest = Architecture(tuple(every_cell(level)[0] for level in range(self.levels)))
            memory = training_memory(
                networks,
                self.training,
                scoring.eval_batch_size,
                resolution,
                widths=WIDTHS,
                architecture=cheapest,
            )
        return sizes, Memory(
            memory.networks | self._controller_bytes(), memory.batches | self._rollout_bytes()
        )

    def _controller_bytes(self):
        if self.autogan.controller == "random":
            return {}
        with on_meta("--hid_size"):
            controller = Controller(self.levels - 1, self.autogan.hid_size)
        return {"--hid_size": PARAMETER_BYTES * count_parameters(controller)}

    def _rollout_bytes(self):
        """Bytes of the controller while it draws: hidden state, cell state and the LSTM's four gates."""
        autogan, each = self.autogan, 6 * FLOAT_BYTES * self.autogan.hid_size
        counts = {name: getattr(autogan, name) for name in ("ctrl_sample_batch", "num_candidate")}
        return {f"--{name}": count * each for name, count in counts.items()}

    def check_steps(self, num_images, available_bytes):
        """Raise UserError if an iteration on so many images has more steps than can be drawn at once."""
        steps = self.shared_steps(num_images)
        each = 6 * FLOAT_BYTES * self.autogan.hid_size + 100 * self.levels  # and an architecture as an object
        Memory({}, {f"--shared_epoch ({steps:,} steps)": steps * each}).check(available_bytes)

    def describe(self):
        """The plan as plain data, for --dry_run."""
        updates = self.iterations * self.controller_steps
        scored = updates * self.autogan.ctrl_sample_batch + self.levels * self.autogan.num_candidate
        sizes, memory = self.sizes_and_memory()
        return {
            "architecture": "searched",
            "resolution": self.data.img_size,
            "resolutions": self.resolutions,
            "growing_iterations": list(self.growing_iterations),
            **sizes,
            "memory_bytes": memory.total,
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
    if options.cells.bottom_width == 1:
        raise UserError("--bottom_width: 1 leaves the first cell's instance norm one value; give 2 or more")
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
    plan = Plan(**groups, growing_iterations=_growing_iterations(options))
    device = pick_device(options.run.device)
    check_precision("--precision", options.training.precision, device)
    _, memory = plan.sizes_and_memory()
    memory.check(device_memory(device))
    return plan


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
    if len(steps) >= MOST_CELLS:
        raise UserError(f"{name}: {len(steps)} are too many: a search has at most {MOST_CELLS} cells")
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
