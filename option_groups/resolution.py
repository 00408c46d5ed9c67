"""Architectures that were found on small images, carried on to large ones. No torch."""

import math

from models.autogan.architecture import EXTENSIONS
from option_groups.kinds import CELL_METHODS, TRAIN
from utils.cli import UserError
from utils.options import group, option


@group(scripts=(TRAIN,), methods=CELL_METHODS)
class ExtensionOptions:
    extend: str = option(
        None,
        "more cells, until the architecture makes --img_size. last: copies of its last cell; repeat: copies "
        "of its cells in turn, from the first one on. Their skips come from as many cells below as before",
        EXTENSIONS,
        later=True,
    )


def extended(architecture, options, source):
    """The architecture with the cells that --extend adds. source: the option that names it.

    Raises UserError if there are none to add, or if no number of cells makes --img_size.
    """
    width, img_size = options.cells.bottom_width, options.data.img_size
    made = width << architecture.levels
    if img_size == made:
        problem = f"the cells of {source} make {made} px images already"
        raise UserError(f"--extend: {problem}; set a larger --img_size or leave it out")
    levels = round(math.log2(max(img_size, made) / width))
    if width << levels != img_size:
        larger = f"--extend makes {made << 1}, {made << 2}, {made << 3}, ... px of the {made} of {source}"
        raise UserError(f"--img_size: {larger}, not {img_size}; set one of these or another --bottom_width")
    return architecture.extended(levels, options.extension.extend)
