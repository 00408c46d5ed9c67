"""The drawing of an architecture as a file of its own."""

from option_groups.shared import CellOptions
from reporting.architecture_svg import architecture_svg
from reporting.growing_svg import growing_svg
from reporting.one_run import size_words
from reporting.svg import standalone


def standalone_drawing(architecture):
    """The text of an .svg file, with the size of the generator at the widths of a retraining."""
    cells = CellOptions()
    words = size_words(str(architecture), {})
    if architecture.family == "growing":
        return standalone(growing_svg(architecture, words))
    resolution = cells.bottom_width << architecture.levels
    words += f" at {resolution} px (gf_dim {cells.gf_dim})"
    return standalone(architecture_svg(architecture, cells.bottom_width, f"{architecture}\n{words}"))
