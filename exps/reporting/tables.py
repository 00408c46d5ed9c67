"""HTML tables, and how numbers are written in them."""

import json
from html import escape

from reporting.svg import element


def number(value, digits=2):
    """A number for a reader: 4,405,251; 12.42; "-" for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


def spread(mean, deviation):
    """A mean with its deviation: 8.55 ± 0.10."""
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def duration(seconds):
    """Seconds in a unit that fits: 43.0 h, 4.3 min."""
    if seconds is None:
        return "–"
    hours = seconds / 3600
    return (
        f"{hours:.1f} h" if hours >= 1 else f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
    )


def option_text(value):
    """An option's value as it is typed."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {None: "not set", True: "on", False: "off"}[value]
    return str(value)


def table(caption, heads, rows, *, sortable=True, marked=()):
    """A table in a box that scrolls by itself where the page is narrow.

    rows: lists of texts; a (text, number) pair is sorted by the number. marked: indices of rows in bold.
    Columns of numbers are set to the right.
    """
    is_number = [all(_is_numeric(row[column]) for row in rows) and bool(rows) for column in range(len(heads))]
    classes = ["number" if numeric else None for numeric in is_number]
    top = "".join(element("th", escape(head), scope="col", class_=kind) for head, kind in zip(heads, classes))
    body = "".join(
        element(
            "tr",
            *(_cell(value, kind) for value, kind in zip(row, classes)),
            class_="marked" if index in marked else None,
        )
        for index, row in enumerate(rows)
    )
    kind = "sortable" if sortable and len(rows) > 2 else None
    content = (
        element("caption", element("span", escape(caption)))
        + element("thead", element("tr", top))
        + element("tbody", body)
    )
    return element("div", element("table", content, class_=kind), class_="scroll", tabindex=0, role="group",
                   aria_label=caption)  # fmt: skip


def _is_numeric(value):
    return isinstance(value, tuple) or value == "–"


def _cell(value, kind):
    text, key = value if isinstance(value, tuple) else (str(value), None)
    kind = kind or ("long" if len(text) > 44 else None)
    return element("td", escape(text), class_=kind, data_value=None if key is None else repr(float(key)))


def figure(value, digits=2):
    """A table's cell of a number: its text, and what it is sorted by."""
    return number(value, digits), value


def is_figure(score):
    """A table's cell of a score's IS with its deviation over the splits."""
    return spread(score.get("is_mean"), score.get("is_std")), score.get("is_mean")


def facts(pairs):
    """A list of names with values, without those that are None."""
    rows = (
        element("div", element("dt", escape(name)), element("dd", escape(str(value))))
        for name, value in pairs
        if value is not None
    )
    return element("dl", *rows, class_="facts")


def chart_grid(figures):
    """Charts side by side, as many as the page is wide; empty ones are left out."""
    figures = [element("figure", svg) for svg in figures if svg]
    return element("div", *figures, class_="charts") if figures else ""


def data_block(content):
    """Data for other programs, as JSON that cannot end its element."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="data">{text}</script>'
