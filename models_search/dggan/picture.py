"""A growth tree as a picture: a column per growing step, a box per node, a line to its parent."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from models_search.dggan.tree import best_nodes, path
from utils.cli import naming

COLOURS = {"kept": "#c8e6c9", "pruned": "#e8e8e8", "failed": "#f5b7b1", "best": "#ffe082"}
BOX_WIDTH, BOX_HEIGHT, COLUMN_WIDTH, ROW_HEIGHT, MARGIN = 230, 34, 290, 42, 16


def tree_boxes(tree, final_resolution, fid_name):
    """The boxes of a growth tree for `save_growth_picture`; the path to the best network is marked.

    fid_name: how the FID is labelled.
    """
    best = best_nodes(tree, final_resolution, 1)
    marked = path(tree, best[0].index) if best else ()

    def box(index, node):
        fate = (
            "best"
            if index in marked
            else "failed"
            if node.failure
            else "pruned"
            if node.kept is False
            else "kept"
        )
        fid = f"{fid_name} {node.figures['fid']:.2f}" if "fid" in node.figures else node.failure[:20]
        lines = f"{index}: {node.action or 'root'}", f"{node.resolution} px  {fid}"
        return {"step": node.step, "parent": node.parent, "fate": fate, "lines": lines}

    return [box(index, node) for index, node in enumerate(tree)]


def save_growth_picture(boxes, path):
    """Write a growth tree as a PNG and return its path.

    boxes: a dict for each node, in the order of the tree. Its keys: step, parent (index of a box, or None),
    lines (two short texts) and fate (a key of COLOURS).
    """
    columns = {}
    for index, box in enumerate(boxes):
        columns.setdefault(box["step"], []).append(index)
    width = 2 * MARGIN + COLUMN_WIDTH * max(columns) + BOX_WIDTH
    height = 3 * MARGIN + ROW_HEIGHT * (1 + max(map(len, columns.values())))
    corners = {
        index: (MARGIN + COLUMN_WIDTH * step, MARGIN + ROW_HEIGHT * row)
        for step, column in columns.items()
        for row, index in enumerate(column)
    }
    picture = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for index, box in enumerate(boxes):
        if box["parent"] is not None:
            _line(draw, corners[box["parent"]], corners[index], dark=box["fate"] in ("kept", "best"))
    for index, box in enumerate(boxes):
        _box(draw, font, corners[index], box["lines"], COLOURS[box["fate"]])
    for place, (fate, colour) in enumerate(COLOURS.items()):
        x, y = MARGIN + 90 * place, height - MARGIN - 14
        draw.rectangle((x, y, x + 14, y + 14), fill=colour, outline="black")
        draw.text((x + 20, y + 1), fate, fill="black", font=font)
    with naming(path):
        picture.save(path)
    return Path(path)


def _line(draw, parent, child, dark):
    start = (parent[0] + BOX_WIDTH, parent[1] + BOX_HEIGHT // 2)
    draw.line(
        (start, (child[0], child[1] + BOX_HEIGHT // 2)),
        fill="#404040" if dark else "#c0c0c0",
        width=2 if dark else 1,
    )


def _box(draw, font, corner, lines, colour):
    x, y = corner
    draw.rectangle((x, y, x + BOX_WIDTH, y + BOX_HEIGHT), fill=colour, outline="#404040")
    for number, line in enumerate(lines):
        draw.text((x + 5, y + 4 + 14 * number), line, fill="black", font=font)
