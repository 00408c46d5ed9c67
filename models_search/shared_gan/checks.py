"""Options that do not go together in a search that shares weights."""

import math

from utils.cli import UserError
from utils.options import refuse_other_size


def check_options(options):
    """Raise UserError where the options of a search in a shared GAN contradict each other."""
    shared, topk, splits = options.shared_gan, options.beam.topk, options.scoring.is_splits
    if options.search.reward == "swd":
        raise UserError("--reward: swd is a reward of --method dggan and proggan; use is or fid")
    if topk > shared.num_candidate:
        raise UserError(
            f"--topk: cannot keep {topk} of --num_candidate {shared.num_candidate}; lower --topk or draw more"
        )
    if not shared.score_freq and "score_imgs" in options.typed:
        raise UserError("--score_imgs: without effect without --score_freq; leave it out or set --score_freq")
    if shared.score_freq and shared.score_imgs < splits:
        parts = f"--is_splits {splits} parts"
        raise UserError(f"--score_imgs: {shared.score_imgs} images have no {parts}; score more images")


def number_of_cells(options):
    """How many cells make images of --img_size from --bottom_width; raises UserError if no number does."""
    img_size, bottom_width = options.data.img_size, options.cells.bottom_width
    cells = max(1, round(math.log2(img_size / bottom_width)))
    maker = f"{cells} cell{'' if cells == 1 else 's'} on --bottom_width {bottom_width}"
    refuse_other_size(img_size, bottom_width << cells, maker, " or change --bottom_width")
    return cells
