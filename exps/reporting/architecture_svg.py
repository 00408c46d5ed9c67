"""An AutoGAN generator as the paper's Fig. 3 draws it: cells in the order of the data, every layer a box.

The graph is always the same, so the layout is fixed: boxes in a row, the cells' shortcuts on one side of it
and the skips between cells (dashed) on the other.
"""

from dataclasses import dataclass, field
from html import escape

from reporting.svg import drawing, element

LENGTH, GAP, LANE, MARGIN = 25, 9, 27, 14  # of a box along the row; between boxes; between parallel lines


@dataclass
class Row:
    """Boxes one after the other. A place is (along, across): across 0 is the line that the data runs on.

    upright: the row runs downwards instead of to the right, and words stand upright in its boxes.
    """

    upright: bool
    end: float = 0.0  # how far the row has come
    parts: list = field(default_factory=list)

    def at(self, along, across):
        return (across, along) if self.upright else (along, across)

    def box(self, label, kind, breadth):
        """A box with a label at the row's end, joined to what stands before it."""
        self.move(GAP if self.parts else 0)
        start = self.at(self.end, -breadth / 2)
        width, height = (breadth, LENGTH) if self.upright else (LENGTH, breadth)
        self.parts.append(
            element("rect", x=start[0], y=start[1], width=width, height=height, rx=2, class_=kind)
        )
        self.text(self.end + LENGTH / 2, 0, label, turned=not self.upright)
        self.end += LENGTH

    def move(self, distance=GAP):
        """Lengthen the line that the data runs on."""
        if distance:
            self.line((self.end, 0), (self.end + distance, 0))
        self.end += distance

    def line(self, *places, class_="line", tip=False):
        """A line through places, with round corners and perhaps an arrow's tip."""
        points = [self.at(*place) for place in places]
        path = f"M{points[0][0]:g} {points[0][1]:g}"
        for before, corner, after in zip(points, points[1:], points[2:]):
            (x0, y0), (x1, y1) = _towards(corner, before, 9), _towards(corner, after, 9)
            path += f"L{x0:g} {y0:g}Q{corner[0]:g} {corner[1]:g} {x1:g} {y1:g}"
        path += f"L{points[-1][0]:g} {points[-1][1]:g}"
        self.parts.append(element("path", d=path, class_=class_))
        if tip:
            (x, y), (back_x, back_y) = points[-1], _towards(points[-1], points[-2], 7)
            side_x, side_y = (y - back_y) * 0.5, (back_x - x) * 0.5
            corners = (
                f"{x:g},{y:g} {back_x + side_x:g},{back_y + side_y:g} {back_x - side_x:g},{back_y - side_y:g}"
            )
            self.parts.append(element("polygon", points=corners, class_="tip"))

    def dot(self):
        """A branching at the row's end; returns where."""
        self.move()
        x, y = self.at(self.end, 0)
        self.parts.append(element("circle", cx=x, cy=y, r=3, class_="tip"))
        return self.end

    def sum(self):
        """A sum at the row's end; returns where."""
        self.move(GAP + 8)
        (x, y), radius = self.at(self.end, 0), 7
        cross = f"M{x - radius:g} {y:g}h{2 * radius}M{x:g} {y - radius:g}v{2 * radius}"
        self.parts += [
            element("circle", cx=x, cy=y, r=radius, class_="sum"),
            element("path", d=cross, class_="line"),
        ]
        place, self.end = self.end, self.end + radius
        return place

    def text(self, along, across, words, turned=False, class_=None, anchor="middle"):
        """Words about a place. turned: they run upwards instead of to the right."""
        x, y = self.at(along, across)
        turn = f"rotate(-90 {x:g} {y:g})" if turned else None
        self.parts.append(
            element(
                "text", escape(words), x=x, y=y, text_anchor=anchor, dominant_baseline="central",
                transform=turn, class_=class_,
            )
        )  # fmt: skip


def _towards(start, end, distance):
    """The point at a distance from start on the way to end, at most half of it."""
    (x0, y0), (x1, y1) = start, end
    length = abs(x1 - x0) + abs(y1 - y0)  # lines are level or upright
    share = min(distance, length / 2) / length if length else 0
    return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share


# The labels of layers that read the noise z; other norms are labelled by their names.
NORMS = {"self_modulated": "batch norm by z", "adain": "AdaIN by z"}
CONVS = {"modulated": "conv 3×3 by z"}


def unit_boxes(spec, up=None):
    """[(label, kind)] of one of a cell's two convolutions, in the order of computing. up: its upsampling."""
    norm = NORMS.get(spec.norm, f"{spec.norm} norm")
    active = [(norm, "norm")] * (spec.norm != "none") + [("ReLU", "active")]
    conv = [(up, "up")] * (up is not None) + [(CONVS.get(spec.conv, "conv 3×3"), "conv")]
    return active + conv if spec.conv == "pre" else conv + active


def up_label(up, scale=2):
    """How an upsampling is named: "nearest ×2"."""
    return f"{up} ×{scale}"


def lanes(spans):
    """A lane for each (start, end), such that those of a lane do not overlap; short ones inside."""
    taken, chosen = [], {}
    for start, end in sorted(spans, key=lambda span: (span[1] - span[0], span)):
        lane = next(
            (
                index
                for index, others in enumerate(taken)
                if all(end <= other[0] or start >= other[1] for other in others)
            ),
            len(taken),
        )
        taken += [[]] * (lane == len(taken))
        taken[lane] = taken[lane] + [(start, end)]
        chosen[start, end] = lane
    return chosen


def architecture_svg(architecture, bottom_width=4, caption="", upright=False):
    """The drawing of a models.autogan Architecture. caption: a line of figures below it.

    upright: from top to bottom, for narrow pages.
    """
    row, widest = Row(upright), 104 + 10 * architecture.levels
    row.end = MARGIN
    breadths = [104 + 10 * level for level in range(architecture.levels + 1)]
    row.box("noise", "outside", 64)
    row.box(f"dense {bottom_width}×{bottom_width}", "dense", breadths[0])
    features, spans, cells = [], {}, []
    for level, spec in enumerate(architecture.cells):
        branches = any(later.skips[level] for later in architecture.cells[level + 1 :])
        cells.append(_cell(row, level, spec, breadths[level + 1], features, spans, branches))
    row.move(4)
    for label, kind in (
        ("batch norm", "norm"),
        ("ReLU", "active"),
        ("conv to RGB", "conv"),
        ("tanh", "active"),
    ):
        row.box(label, kind, breadths[-1])
    row.line((row.end, 0), (row.end + 24, 0), tip=True)
    row.end += 24
    row.box("image", "outside", 64)

    chosen, half = lanes(spans), widest / 2 + 6
    depth = half + LANE * (1 + max(chosen.values(), default=-1))
    for (start, end), label in spans.items():
        across = half + LANE * (chosen[start, end] + 0.5)
        row.line((start, 0), (start, across), (end, across), (end, 8), class_="line skip", tip=True)
        row.text((start + end) / 2, across - 8, label, turned=upright, class_="small over")
    top = half + LANE + 22
    return _page(row, architecture, cells, bottom_width, caption, top, depth + 12)


def _cell(row, level, spec, breadth, features, spans, branches):
    """Add a cell to the row; returns where it starts and ends.

    features: where each earlier cell's feature branches off; this one's is added if it `branches`, else None.
    spans: {(start, end): label} of the skips between cells, which are drawn afterwards.
    """
    row.move(6)
    start = row.end
    entry = row.dot() if spec.shortcut else None
    for label, kind in unit_boxes(spec, up_label(spec.up)):
        row.box(label, kind, breadth)
    if any(spec.skips):
        place = row.sum()
        for source, is_added in enumerate(spec.skips):
            if is_added:
                spans[features[source], place] = f"{up_label(spec.up, 2 ** (level - source))}, conv 1×1"
    features.append(row.dot() if branches else None)
    for label, kind in unit_boxes(spec):
        row.box(label, kind, breadth)
    if spec.shortcut:
        across, place = -breadth / 2 - 6 - LANE / 2, row.sum()
        row.line((entry, 0), (entry, across), (place, across), (place, -8), tip=True)
        label = f"{up_label(spec.up)}, conv 1×1"
        row.text((entry + place) / 2, across - 8, label, turned=row.upright, class_="small over")
    if spec.attention:
        row.box("attention", "dense", breadth)
    row.move(6)
    return start, row.end


def _page(row, architecture, cells, bottom_width, caption, above, below):
    """The <svg>: the row with cells marked, from `above` before to `below` behind its line."""
    backgrounds = []
    for level, (start, end) in enumerate(cells):
        x, y = row.at(start - 2, -above)
        width, height = (above + below, end - start + 4) if row.upright else (end - start + 4, above + below)
        backgrounds.append(element("rect", x=x, y=y, width=width, height=height, rx=6, class_="cell"))
        before = bottom_width << level
        words = f"cell {level + 1}: {before} → {2 * before} px"
        row.text((start + end) / 2, 11 - above, words, turned=row.upright, class_="head")
    length, breadth = row.end + MARGIN, above + below
    width, height = (breadth, length) if row.upright else (length, breadth)
    origin = f"translate({above:g} 0)" if row.upright else f"translate(0 {above:g})"
    parts = [element("g", *backgrounds, *row.parts, transform=origin)]
    for line in filter(None, caption.split("\n")):
        parts.append(element("text", escape(line), x=6, y=height + 14, class_="small"))
        height += 18
    return drawing(width, height + 4, f"Generator {architecture}", *parts)
