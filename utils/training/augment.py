"""Differentiable transforms of images, by random numbers that are given.

All are compositions of differentiable operations, so gradients through them are exact, also second ones.
"""

from typing import NamedTuple

import torch

SHIFT = 1 / 8  # of the side


def take(images, rows, columns):
    """images (N, C, H, W) with other rows and columns: pixel (i, j) becomes (rows[n, i], columns[n, j])."""
    count, channels, height, width = images.shape
    taken = images.gather(2, rows[:, None, :, None].expand(count, channels, height, width))
    return taken.gather(3, columns[:, None, None, :].expand(count, channels, height, width))


def whole(uniform, count):
    """Uniform numbers in [0, 1) -> uniform whole numbers from 0 to count - 1."""
    return (uniform * count).long().clamp(max=count - 1)


def places(shift, size):
    """(N, size): where each row or column comes from, when images are shifted by `shift` (N,)."""
    return torch.arange(size, device=shift.device) - shift[:, None]


def reflect(places, size):
    """Places outside an image, mirrored at its outermost pixels."""
    period = max(1, 2 * (size - 1))
    places = places.remainder(period)
    return torch.minimum(places, period - places)


# DiffAugment (Zhao et al. 2020, arXiv 2006.10738). Each takes uniform numbers (N, columns).


def change_colour(images, uniform):
    """Brightness + U(-1/2, 1/2); saturation about the pixel's mean times U(0, 2); contrast about the image's
    mean times U(1/2, 3/2).
    """
    brightness, saturation, contrast = uniform.to(images.dtype)[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    mean = images.mean(1, keepdim=True)
    images = (images - mean) * (2 * saturation) + mean
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translate(images, uniform):
    """Shifted by up to 1/8 of the side each way, in whole pixels; what comes in is zero."""
    indices, inside = [], []
    for size, numbers in zip(images.shape[2:], uniform.unbind(1)):
        most = int(size * SHIFT + 0.5)
        found = places(whole(numbers, 2 * most + 1) - most, size)
        inside.append((found >= 0) & (found < size))
        indices.append(found.clamp(0, size - 1))
    return take(images, *indices) * (inside[0][:, None, :, None] & inside[1][:, None, None, :])


def cut_out(images, uniform):
    """A square of half the side becomes zero; its centre is uniform, so the border may cut it."""
    inside = []
    for size, numbers in zip(images.shape[2:], uniform.unbind(1)):
        side = int(size * 0.5 + 0.5)
        first = whole(numbers, size + 1 - side % 2) - side // 2
        place = places(first, size)
        inside.append((place >= 0) & (place < side))
    return images * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


TRANSFORMS = {"color": (3, change_colour), "translation": (2, translate), "cutout": (2, cut_out)}


class DiffAugment(NamedTuple):
    """Some of TRANSFORMS, one after the other."""

    names: tuple[str, ...]

    @property
    def columns(self):
        """Random numbers for each image."""
        return sum(TRANSFORMS[name][0] for name in self.names)

    def __call__(self, images, uniform, probability=None):
        """images (N, 3, H, W) in [-1, 1], uniform numbers (N, columns) in [0, 1) -> images."""
        parts = uniform.split([TRANSFORMS[name][0] for name in self.names], dim=1)
        for name, numbers in zip(self.names, parts):
            images = TRANSFORMS[name][1](images, numbers)
        return images


# The transform of bCR.
MOVES = 3  # random numbers for each image


def move(images, uniform):
    """Mirrored with probability 1/2 and shifted by up to 1/8 of the side, reflected; uniform (N, MOVES)."""
    indices = []
    for size, numbers in zip(images.shape[2:], uniform[:, :2].unbind(1)):
        most = int(size * SHIFT + 0.5)
        indices.append(reflect(places(whole(numbers, 2 * most + 1) - most, size), size))
    rows, columns = indices
    mirrored = uniform[:, 2, None] < 0.5
    return take(images, rows, torch.where(mirrored, images.shape[3] - 1 - columns, columns))
