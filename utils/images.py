"""Images as tensors: the conversion between floats and uint8, grids and GIFs.

Networks make and read float images (3, H, W) in [-1, 1]. Stored and scored images are uint8 (3, H, W).
"""

from pathlib import Path

import imageio.v3 as imageio
import torch
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


def grid(images, columns=10, zoom=2):
    """uint8 or float images (N, 3, H, W) -> one picture, a uint8 array (H', W', 3).

    A row has `columns` images. Each pixel is repeated `zoom` times in both directions.
    """
    if images.is_floating_point():
        images = to_uint8(images)
    picture = make_grid(images.cpu(), nrow=columns, padding=1)
    picture = picture.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    return picture.permute(1, 2, 0).contiguous().numpy()


def save_grid(images, path, columns=10, zoom=2):
    """Write a grid of images as PNG and return its path."""
    return _write(path, imageio.imwrite("<bytes>", grid(images, columns, zoom), extension=".png"))


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
