"""SVG by hand: elements as text, and the colours that drawings and page share. No torch, no matplotlib."""

from html import escape

# {kind of a box: (its fill on a light page, on a dark one)}. The ink is the page's.
FILLS = {
    "outside": ("#ececf0", "#3a3d45"),  # noise, image, score
    "dense": ("#efcdb1", "#6b4a30"),
    "up": ("#b9c8e8", "#334a78"),
    "norm": ("#e9c6e6", "#633f60"),
    "active": ("#fbe7a6", "#665417"),
    "conv": ("#cfe0b8", "#3f5a2b"),
    "cell": ("#00000009", "#ffffff0c"),
    "kept": ("#cfe0b8", "#3f5a2b"),
    "pruned": ("#ececf0", "#33363d"),
    "failed": ("#f3b9b2", "#74342c"),
    "best": ("#fbd977", "#806312"),
}
INKS = {
    "ink": ("#1b1d22", "#e6e7ea"),
    "quiet": ("#5c616b", "#a3a8b2"),
    "paper": ("#ffffff", "#15171b"),
    "rule": ("#dcdfe5", "#33373f"),
    "soft": ("#f5f6f8", "#1e2127"),
    "link": ("#1f5fa8", "#8ab8f0"),
}
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"


def element(name, *content, **attributes):
    """An SVG or HTML element. Attributes are escaped, content (text of elements) is not.

    A trailing "_" of a name is dropped and another one becomes "-": class_, font_size. None leaves it out.
    """
    stated = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{stated}>{''.join(content)}</{name}>"


def _text(value):
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def drawing(width, height, title, *content, class_="drawing"):
    """An <svg> of that size with a title. Its colours are those of `variables` and `DRAWING_STYLE`."""
    return element(
        "svg",
        element("title", escape(title)),
        *content,
        viewBox=f"0 0 {_text(float(width))} {_text(float(height))}",
        width=_text(float(width)),
        height=_text(float(height)),
        role="img",
        aria_label=title,
        class_=class_,
    )


def variables(dark):
    """The CSS variables of all colours."""
    return "".join(f"--{name}:{colours[dark]};" for name, colours in {**FILLS, **INKS}.items())


DRAWING_STYLE = (
    f".drawing text{{font-family:{FONT};font-size:12px;fill:var(--ink)}}"
    ".drawing .small{font-size:10.5px;fill:var(--quiet)}.drawing .over{paint-order:stroke;"
    "stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}.drawing .head{font-weight:600}"
    ".drawing .boxed{fill:var(--ink);opacity:.85}"
    ".drawing .line{fill:none;stroke:var(--ink);stroke-width:1.3}.drawing .skip{stroke-dasharray:5 4}"
    ".drawing .faint{stroke:var(--quiet);stroke-width:1;opacity:.55}.drawing .tip{fill:var(--ink)}"
    ".drawing .path{stroke-width:2.4}.drawing rect{stroke:var(--ink);stroke-width:.9}"
    ".drawing .cell{stroke:none}.drawing .sum{fill:var(--paper);stroke:var(--ink);stroke-width:1.3}"
    + "".join(f".drawing .{kind}{{fill:var(--{kind})}}" for kind in FILLS)
)


def standalone(svg):
    """The text of an .svg file of such a drawing: it brings its colours, also for a dark page."""
    style = (
        f"svg{{{variables(dark=False)}background:var(--paper)}}"
        f"@media (prefers-color-scheme:dark){{svg{{{variables(dark=True)}}}}}{DRAWING_STYLE}"
    )
    start, end = svg.split(">", 1)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{start} xmlns="http://www.w3.org/2000/svg">'
        f"<style>{style}</style>{end}\n"
    )
