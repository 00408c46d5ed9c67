"""Images as tensors: the one place where floats become uint8 and back, and grids and GIFs are written.

A float image is (3, H, W) in [-1, 1], a stored or scored one (3, H, W) uint8.
"""

from pathlib import Path

import imageio.v3 as imageio
import torch
from torchvision.utils import make_grid


def to_uint8(images):
    """Float images in [-1, 1] -> uint8, by truncation, as the authors' code does (rounding changes half the pixels).

    Values outside the range are clamped. NaN would silently become black: see `all_finite`.
    """
    return images.float().mul(127.5).add_(127.5).clamp_(0, 255).to(torch.uint8)


def all_finite(images):
    """Whether no value is NaN or infinite, as a 0-d bool tensor on the images' device (reading it waits for the device)."""
    return torch.isfinite(images).all()


def from_uint8(images):
    """uint8 images -> float32 in [-1, 1], as ToTensor and Normalize(0.5, 0.5) do."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def grid(images, columns=10, zoom=2):
    """uint8 or float images (N, 3, H, W) -> one uint8 picture (H', W', 3) with `columns` images a row, each pixel `zoom` wide."""
    if images.is_floating_point():
        images = to_uint8(images)
    picture = make_grid(images.cpu(), nrow=columns, padding=1)
    picture = picture.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    return picture.permute(1, 2, 0).contiguous().numpy()


def save_grid(images, path, columns=10, zoom=2):
    """Write a grid of images as PNG and return its path."""
    imageio.imwrite(path, grid(images, columns, zoom))
    return Path(path)


def save_gif(pictures, path, frames_per_second=4):
    """Write pictures (paths of equally large PNGs, in order) as an endless GIF and return its path; the last one is held longer."""
    frames = [imageio.imread(picture) for picture in pictures]
    durations = [1000 / frames_per_second] * (len(frames) - 1) + [3000]
    imageio.imwrite(path, frames, extension=".gif", duration=durations, loop=0)
    return Path(path)
