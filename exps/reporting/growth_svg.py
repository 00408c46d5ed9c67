"""DGGAN's growth tree: a column for each growing step, a box for each network pair, a line to its parent."""

from html import escape

from reporting.svg import drawing, element

WIDTH, HEIGHT, COLUMN, ROW, MARGIN = 196, 36, 244, 44, 10
FATES = ("best", "kept", "pruned", "failed")


def fate(node, index, marked):
    """What became of a node of growth_tree.json. marked: the nodes on the path to the best one."""
    if index in marked:
        return "best"
    if node["failure"] or node["score"] is None:
        return "failed"
    return "pruned" if node["kept"] is False else "kept"


def path_to(tree, index):
    """The nodes from the root to this one."""
    path = []
    while index is not None:
        path.append(index)
        index = tree[index]["parent"]
    return path[::-1]


def growth_svg(tree, marked, figure, name):
    """The drawing of a tree (the nodes of growth_tree.json).

    marked: nodes on the path to the best one. figure: which of a node's figures to print, under this name.
    """
    columns = {}
    for index, node in enumerate(tree):
        columns.setdefault(node["step"], []).append(index)
    rows = _rows(tree, columns)
    corners = {
        index: (MARGIN + COLUMN * step, 28 + MARGIN + ROW * rows[index])
        for step, column in columns.items()
        for index in column
    }
    names = {step: f"growing step {step}" if step else "start" for step in columns}
    heads = [
        element("text", name, x=MARGIN + COLUMN * step, y=16, class_="head") for step, name in names.items()
    ]
    lines = [
        _line(corners[node["parent"]], corners[index], index in marked, bool(node["kept"]))
        for index, node in enumerate(tree)
        if node["parent"] is not None
    ]
    boxes = [
        _box(corners[index], index, node, fate(node, index, marked), figure, name)
        for index, node in enumerate(tree)
    ]
    bottom = max(y for _, y in corners.values()) + HEIGHT + 14
    key = [
        element("rect", x=MARGIN + 78 * place, y=bottom, width=13, height=13, rx=2, class_=kind)
        + element("text", kind, x=MARGIN + 78 * place + 19, y=bottom + 11, class_="small")
        for place, kind in enumerate(FATES)
    ]
    width = max(2 * MARGIN + COLUMN * max(columns) + WIDTH, 330)
    return drawing(width, bottom + 24, f"Growth tree of {len(tree)} networks", *heads, *lines, *boxes, *key)


def _rows(tree, columns):
    """{node: its row}: the children of a step in the order of their parents, as near to them as fits."""
    rows = {}
    for column in columns.values():
        next_free = 0.0
        by_parent = sorted(column, key=lambda index: (rows.get(tree[index]["parent"], 0.0), index))
        parents = [tree[index]["parent"] for index in by_parent]
        for index, parent in zip(by_parent, parents):
            wanted = rows.get(parent, 0.0) - (parents.count(parent) - 1) / 2 if parent is not None else 0.0
            first = parents.index(parent) == by_parent.index(index)
            rows[index] = max(next_free, wanted) if first else next_free
            next_free = rows[index] + 1
    lowest = min(rows.values())
    return {index: row - lowest for index, row in rows.items()}


def _line(parent, child, is_marked, is_kept):
    (x0, y0), (x1, y1) = (parent[0] + WIDTH, parent[1] + HEIGHT / 2), (child[0], child[1] + HEIGHT / 2)
    middle = (x0 + x1) / 2
    kind = "line path" if is_marked else "line" if is_kept else "line faint"
    return element("path", d=f"M{x0:g} {y0:g}C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}", class_=kind)


def _box(corner, index, node, kind, figure, name):
    x, y = corner
    value = node["figures"].get(figure)
    result = f"{name} {value:.2f}" if value is not None else (node["failure"] or "not scored")[:24]
    tip = f"node {index}: {node['architecture']}" + (f"; {node['failure']}" if node["failure"] else "")
    return element(
        "g",
        element("title", escape(tip)),
        element("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=4, class_=kind),
        element("text", escape(f"{index}: {node['action'] or 'start'}"), x=x + 7, y=y + 15),
        element("text", escape(f"{_resolution(node)} px, {result}"), x=x + 7, y=y + 29, class_="small boxed"),
    )


def _resolution(node):
    """Size of a node's images: that of the last part of its architecture's text."""
    return node["architecture"].rsplit("|", 1)[-1].split(":")[0].strip()
