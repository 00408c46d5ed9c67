"""A growing architecture as two mirrored columns: the generator downwards, the discriminator upwards."""

from html import escape

from models.growing.architecture import FIRST_RESOLUTION
from reporting.svg import drawing, element

WIDTH, HEIGHT, GAP, BLOCK_GAP = 132, 22, 9, 18  # of a box; between boxes; between resolutions
LEFT, RIGHT, PAGE = 82, 258, 340  # the columns' middles; the drawing's width
NOTE = "After each convolution: leaky ReLU, in G also pixel norm."
ENDS = (
    (("noise", "outside"), ("score", "outside")),
    (("dense 4×4", "dense"), ("dense 4×4, dense", "dense")),
)


def growing_svg(architecture, caption=""):
    """The drawing of a models.growing GrowingArchitecture; caption: lines of figures below it."""
    blocks = [
        ENDS,
        *map(_block, range(len(architecture.generator)), architecture.generator, architecture.discriminator),
    ]
    blocks.append(((("to RGB, 1×1", "conv"), ("from RGB, 1×1", "conv")),))
    boxes, bands, y = [], [], 30
    for number, block in enumerate(blocks):
        top = y
        for pair in block:
            boxes += [_box(middle, y, *each) for middle, each in zip((LEFT, RIGHT), pair) if each]
            y += HEIGHT + GAP
        if 0 < number < len(blocks) - 1:
            bands.append(_band(top - 6, y - GAP + 6, FIRST_RESOLUTION << (number - 1)))
        y += BLOCK_GAP - GAP
    image = element(
        "rect", x=LEFT - WIDTH / 2, y=y, width=RIGHT - LEFT + WIDTH, height=HEIGHT, rx=2, class_="outside"
    )
    image += _text((LEFT + RIGHT) / 2, y + HEIGHT / 2, f"image, {architecture.resolution} px")
    lines = [element("path", d=f"M{middle} 40V{y}", class_="line") for middle in (LEFT, RIGHT)]
    tips = [_tip(LEFT, y, -6), _tip(RIGHT, 30 + HEIGHT, 6)]
    heads = [_text(LEFT, 12, "Generator", "head"), _text(RIGHT, 12, "Discriminator", "head")]
    height = y + HEIGHT + 10
    for note in (NOTE, *filter(None, caption.split("\n"))):
        heads.append(element("text", escape(note), x=4, y=height + 10, class_="small"))
        height += 17
    title = f"Generator and discriminator {architecture}"
    return drawing(PAGE, height + 4, title, *bands, *lines, *boxes, *tips, *heads, image)


def _block(level, generator, discriminator):
    """Both columns' rows at a resolution, from the deep end to the image: pairs of (label, kind) or ()."""
    columns = [
        [("nearest ×2", "up") if level else ()] + _convs(generator),
        [("average pool ÷2", "up") if level else ("minibatch deviation", "norm")] + _convs(discriminator),
    ]
    length = max(map(len, columns))
    return list(zip(*(column + [()] * (length - len(column)) for column in columns)))


def _convs(convs):
    return [(f"conv {conv.kernel}×{conv.kernel}, {conv.filters}", "conv") for conv in convs]


def _band(top, bottom, resolution):
    """The ground behind the layers of a resolution."""
    ground = element("rect", x=2, y=top, width=PAGE - 4, height=bottom - top, rx=5, class_="cell")
    return ground + _text((LEFT + RIGHT) / 2, (top + bottom) / 2, f"{resolution} px", "small")


def _box(middle, y, label, kind):
    rect = element("rect", x=middle - WIDTH / 2, y=y, width=WIDTH, height=HEIGHT, rx=2, class_=kind)
    return rect + _text(middle, y + HEIGHT / 2, label)


def _tip(x, y, back):
    """An arrow's tip at a point; it comes from `back` pixels below or above."""
    return element("polygon", points=f"{x},{y} {x - 4},{y + back} {x + 4},{y + back}", class_="tip")


def _text(x, y, words, class_=None):
    return element(
        "text", escape(words), x=x, y=y, text_anchor="middle", dominant_baseline="central", class_=class_
    )
