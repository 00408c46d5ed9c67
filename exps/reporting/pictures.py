"""Sample grids for a page of limited size: fewer rows, each image at its own size, PNG as base64."""

import base64
import io
import re

from PIL import Image, UnidentifiedImageError

from reporting.svg import element
from utils.cli import UserError

LIMIT = 4_900_000  # bytes of a page
COLUMNS, PADDING = 10, 1  # of utils.images.grid


def over_time(pictures, most=6):
    """At most so many pictures, evenly spread from the first to the last."""
    if len(pictures) <= most:
        return pictures
    return [pictures[round(place * (len(pictures) - 1) / (most - 1))] for place in range(most)]


def sample_png(path, budget):
    """(PNG bytes, width in pixels) of the first rows of a sample grid, in at most `budget` bytes."""
    try:
        picture = without_zoom(Image.open(path).convert("RGB"))
    except (OSError, UnidentifiedImageError):
        raise UserError(f"{path} is not a picture; remove it or give another run") from None
    tile = max(1, (picture.width - PADDING) // COLUMNS)
    rows = max(1, min(5, (picture.height - PADDING) // tile))
    while True:
        part = picture.crop((0, 0, picture.width, min(picture.height, rows * tile + PADDING)))
        content = _png(part)
        if len(content) <= budget:
            return content, part.width
        if rows > 1:
            rows -= 1
        elif part.width > 64:
            picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
            tile = max(1, tile // 2)
        else:
            return content, part.width


def without_zoom(picture):
    """The picture with one pixel for each square of equal ones: grids repeat every pixel so often."""
    for zoom in (32, 16, 8, 4, 2):
        width, height = picture.width // zoom, picture.height // zoom
        if (width * zoom, height * zoom) == picture.size:
            smaller = picture.resize((width, height), Image.Resampling.NEAREST)
            if smaller.resize(picture.size, Image.Resampling.NEAREST).tobytes() == picture.tobytes():
                return smaller
    return picture


class Pictures:
    """The sample grids of a page: each leaves its place in the text, and `fill` shares out the room."""

    def __init__(self):
        self.wanted = []

    def place(self, path, words):
        """Text that `fill` replaces by the picture. words: what it shows."""
        self.wanted.append((path, words))
        return f"\0{len(self.wanted) - 1}\0"

    def fill(self, text):
        """The text with its pictures, of at most LIMIT bytes where that is possible."""
        if not self.wanted:
            return text
        room = max(0, LIMIT - len(text.encode())) * 3 // 4  # base64 makes 4 bytes of every 3
        budget = min(250_000, room // len(self.wanted) - 400)
        elements = [image_element(*sample_png(path, budget), words) for path, words in self.wanted]
        return re.sub("\0([0-9]+)\0", lambda match: elements[int(match[1])], text)


def _png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def image_element(content, width, words):
    """An <img> of PNG bytes, enlarged without smoothing where it is small. words: what it shows."""
    data = base64.b64encode(content).decode()
    kind = "pixelated" if width < 660 else None
    return element("img", src=f"data:image/png;base64,{data}", alt=words, class_=kind).removesuffix("</img>")
