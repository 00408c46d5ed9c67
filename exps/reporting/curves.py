"""Curves as inline SVG by matplotlib: the same bytes each time, ids of their own, colours of the page."""

import io
import re
from contextlib import contextmanager
from html import escape

from utils.cli import UserError

try:
    import matplotlib
except ImportError:  # `refuse_without_matplotlib` says so
    matplotlib = None

# Seen on white as well as on black.
COLOURS = ("#3b82c4", "#d9772b", "#3a9d5d", "#cf4b4b", "#8d6bc9", "#2a9fb0", "#c75a97", "#a08430")
INK, QUIET = "#010203", "#030201"  # stand for the page's colours until the SVG is written
STYLE = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.5,
    "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 9.5,
    "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": QUIET,
    "xtick.color": QUIET, "ytick.color": QUIET, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "axes.facecolor": "none", "figure.facecolor": "none", "lines.linewidth": 1.5, "legend.frameon": False,
    "legend.fontsize": 8.8, "axes.formatter.useoffset": False, "axes.grid": True, "axes.grid.axis": "y",
    "grid.color": QUIET, "grid.alpha": 0.18, "grid.linewidth": 0.6,
}  # fmt: skip
WIDTH = 4.72  # inches of 72 units, so 340 units: as wide as a telephone's page


def refuse_without_matplotlib():
    """Raise UserError where matplotlib is missing."""
    if matplotlib is None:
        raise UserError("--output: the report's curves need matplotlib; run pip install matplotlib")


class Charts:
    """The charts of a page. Each is drawn into `figure(...)` and comes out of `found` as SVG text."""

    def __init__(self):
        self.count = 0

    @contextmanager
    def figure(self, title, height=2.5, rows=1, width=WIDTH, **options):
        """(Axes or an array of them, a list that has the SVG afterwards). title: what it shows, for a reader

        who does not see it."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.count += 1
        name, found = f"chart{self.count}", []
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
            figure = Figure(figsize=(width, height), layout="constrained")
            FigureCanvasSVG(figure)
            yield figure.subplots(rows, 1, **options), found
            file = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        found.append(inline(file.getvalue(), name, title))


def inline(svg, name, title):
    """matplotlib's SVG file as a part of a page: no header, no metadata, ids that begin with `name`."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href").replace(INK, "var(--ink)").replace(QUIET, "var(--quiet)")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = svg.replace("'DejaVu Sans', sans-serif", "system-ui, sans-serif")
    svg = re.sub(r"\n\s*", "\n", svg)
    box = re.search(r'viewBox="([^"]*)"', svg)[1]
    label = escape(title)
    start = f'<svg viewBox="{box}" class="chart" role="img" aria-label="{label}"><title>{label}</title>'
    return start + svg[svg.index(">") + 1 :].strip()


def legend_below(axes, columns=2):
    """A legend under the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def mark(axes, places, colour, label, style):
    """Upright lines at some x, one entry of the legend."""
    for number, x in enumerate(places):
        axes.axvline(x, color=colour, linestyle=style, linewidth=0.9, label=None if number else label)
