"""Images as tensors: the conversion between floats and uint8, grids and GIFs.

Networks make and read float images (3, H, W) in [-1, 1]. Stored and scored images are uint8 (3, H, W).
"""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import make_grid

from utils.cli import naming


def to_uint8(images):
    """Float images in [-1, 1] -> uint8. Values outside the range are clamped.

    Truncates as the authors' code does; rounding would change half of the pixels. NaN becomes black without a
    warning, so check with `all_finite` first.
    """
    return images.float().mul(127.5).add_(127.5).clamp_(0, 255).to(torch.uint8)


def all_finite(images):
    """Whether all values are finite: a 0-d bool tensor on the images' device.

    Reading it waits for that device.
    """
    return torch.isfinite(images).all()


def from_uint8(images):
    """uint8 images -> float32 in [-1, 1], as torchvision's ToTensor and Normalize(0.5, 0.5) do."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def grid(images, columns=10, zoom=2, labels=()):
    """uint8 or float images (N, 3, H, W) -> one picture, a uint8 array (H', W', 3).

    A row has `columns` images. Each pixel is repeated `zoom` times in both directions. labels: a text for
    each row, which is written above it; none, or as many as there are rows.
    """
    if images.is_floating_point():
        images = to_uint8(images)
    picture = make_grid(images.cpu(), nrow=columns, padding=1)
    picture = picture.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    picture = picture.permute(1, 2, 0).contiguous().numpy()
    return label_rows(picture, labels, zoom * (images.shape[2] + 1)) if labels else picture


def label_rows(picture, labels, row_height):
    """A picture (H, W, 3) of rows of this height, with a label above each of them."""
    if len(picture) // row_height != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(picture) // row_height} rows of images")
    parts = []
    for row, label in enumerate(labels):
        is_last = row == len(labels) - 1
        below = picture[row * row_height :] if is_last else picture[row * row_height : (row + 1) * row_height]
        parts += [write_line(label, picture.shape[1]), below]
    return np.concatenate(parts)


def write_line(text, width):
    """Text as a picture (H, width, 3), white on black, in as many lines as it needs."""
    font, margin, lines = ImageFont.load_default(), 2, [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - 2 * margin:
            lines.append(word)
        else:
            lines[-1] = longer
    image = Image.new("RGB", (width, 13 * len(lines) + margin))
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((margin, 13 * number), line, font=font)
    return np.asarray(image)


def save_picture(picture, path):
    """Write a uint8 array (H, W, 3) as PNG and return its path."""
    return _write(path, imageio.imwrite("<bytes>", picture, extension=".png"))


def save_grid(images, path, columns=10, zoom=2):
    """Write a grid of images as PNG and return its path."""
    return save_picture(grid(images, columns, zoom), path)


def save_images(images, folder, first=0):
    """Write images (N, 3, H, W), uint8 or float, as PNGs of their own: FOLDER/000000.png and so on.

    first: the number of the first one.
    """
    if images.is_floating_point():
        images = to_uint8(images)
    for number, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy(), first):
        save_picture(image, Path(folder) / f"{number:06d}.png")


def save_gif(pictures, path, frames_per_second=4):
    """Write PNGs of equal size as an endless GIF and return its path.

    The last one is shown for three seconds.
    """
    frames = [imageio.imread(picture) for picture in pictures]
    durations = [1000 / frames_per_second] * (len(frames) - 1) + [3000]
    return _write(path, imageio.imwrite("<bytes>", frames, extension=".gif", duration=durations, loop=0))


def _write(path, content):
    path = Path(path)
    with naming(path):
        path.write_bytes(content)
    return path
