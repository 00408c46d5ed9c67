"""Options that do not go together in a search that shares weights, or in any that draws cells."""

import math

import torch

from models_search.shared_gan.training import steps_per_iteration
from utils.cli import UserError
from utils.options import refuse_halvings, refuse_other_size
from utils.precision import check_precision
from utils.run.machine import device_memory, pick_device
from utils.training.checks import check_recipe
from utils.training.inputs import refuse_uneven_batches
from utils.training.memory import Memory

# Each one has twice as many candidates as the one before: in the end 18,432, in the extended space 92,160.
MOST_CELLS = 10
CELL_BYTES = 100  # of a cell as an object, at least


def check_options(options):
    """Raise UserError where the options of a search in a shared GAN contradict each other."""
    shared, topk, splits = options.shared_gan, options.beam.topk, options.scoring.is_splits
    check_cells_and_reward(options)
    if topk > shared.num_candidate:
        raise UserError(
            f"--topk: cannot keep {topk} of --num_candidate {shared.num_candidate}; lower --topk or draw more"
        )
    if not shared.score_freq and "score_imgs" in options.typed:
        raise UserError("--score_imgs: without effect without --score_freq; leave it out or set --score_freq")
    if shared.score_freq and shared.score_imgs < splits:
        parts = f"--is_splits {splits} parts"
        raise UserError(f"--score_imgs: {shared.score_imgs} images have no {parts}; score more images")


def check_cells_and_reward(options):
    """Raise UserError for a reward or a first cell that no search that draws cells can have."""
    if options.cells.bottom_width == 1:
        raise UserError("--bottom_width: 1 leaves the first cell's instance norm one value; give 2 or more")
    if options.search.reward == "swd":
        raise UserError("--reward: swd is a reward of --method dggan and proggan; use is or fid")


def check_machine(plan):
    """Raise UserError unless the device is there, computes in the precision and has the memory.

    And if the discriminator cannot halve as often as it should. plan: of any search that shares weights;
    `memory`, `levels` and the option groups cells, training, recipe and run are read here.
    """
    refuse_halvings(plan.cells.df_halvings, plan.levels)
    check_recipe(plan.training, plan.recipe, "autogan")
    device = pick_device(plan.run.device)
    check_precision("--precision", plan.training.precision, device)
    refuse_uneven_batches(plan.training)
    plan.memory().check(device_memory(device))


def check_steps(plan, num_images):
    """Raise UserError if the architectures of an iteration's steps, drawn at once, fit no memory.

    Or if several processes cannot share its last batch.
    """
    refuse_uneven_batches(plan.training, num_images)
    steps = steps_per_iteration(plan, num_images)
    memory = Memory({}, {f"--shared_epoch ({steps:,} steps)": steps * plan.bytes_of_a_draw})
    memory.check(device_memory(torch.device("cpu")))


def refuse_many_cells(cells, option):
    """Raise UserError if there are more cells than a search can list the candidates of."""
    if cells > MOST_CELLS:
        raise UserError(f"{option}: {cells} cells are too many; a search has at most {MOST_CELLS}")


def number_of_cells(options):
    """How many cells make images of --img_size from --bottom_width; raises UserError if no number does."""
    img_size, bottom_width = options.data.img_size, options.cells.bottom_width
    cells = max(1, round(math.log2(img_size / bottom_width)))
    refuse_many_cells(cells, "--img_size")
    maker = f"{cells} cell{'' if cells == 1 else 's'} on --bottom_width {bottom_width}"
    refuse_other_size(img_size, bottom_width << cells, maker, " or change --bottom_width")
    return cells
