"""Adaptive discriminator augmentation (ADA; Karras et al. 2020, arXiv 2006.06676): its transforms, and the
probability by which each of them is done.

The transforms are written anew after the paper's description, with bilinear sampling and reflected borders.
"""

import math
from typing import NamedTuple

import torch

from utils.distributed import add_up
from utils.training.augment import SHIFT, reflect, whole

GRAY = 3**-0.5  # each component of the axis of brightness


class Adaptive:
    """The probability p, and the logits' signs on real images that it follows: all on the device.

    Every `interval` steps p rises if the mean sign is above `target`, else it falls, by the images seen since
    over 1,000 `kimg`. It stays in [0, 1].
    """

    def __init__(self, options, device):
        self.target, self.interval = options.ada_target, options.ada_interval
        self.images = 1000.0 * options.ada_kimg  # from 0 to 1
        self.probability, self.signs, self.count = (torch.zeros((), device=device) for _ in range(3))

    def observe(self, logits):
        """Note the logits of real images, of all processes. Only adds to tensors, so it can be recorded."""
        signs, count = logits.detach().sign().sum(), torch.full_like(self.count, len(logits))
        add_up([signs, count])
        self.signs += signs
        self.count += count

    def adjust(self, step):
        """After a step: move p if it is due. Nothing waits for the device."""
        if (step + 1) % self.interval == 0:
            move = (self.signs / self.count - self.target).sign() * self.count / self.images
            self.probability.add_(move).clamp_(0.0, 1.0)
            self.signs.zero_()
            self.count.zero_()

    def state_dict(self):
        return {"probability": self.probability, "signs": self.signs, "count": self.count}

    def load_state_dict(self, state):
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


class AdaptivePipe(NamedTuple):
    """Groups of transforms: "blit" (whole pixels), "geometric" and "color"."""

    names: tuple[str, ...]

    @property
    def columns(self):
        """Random numbers for each image."""
        return sum(COLUMNS[name] for name in self.names)

    def __call__(self, images, uniform, probability):
        """images (N, 3, H, W), uniform numbers (N, columns) in [0, 1), p as a 0-d tensor -> images."""
        parts = uniform.to(images.dtype).split([COLUMNS[name] for name in self.names], dim=1)
        numbers, side = dict(zip(self.names, parts)), images.shape[-1]
        probability = probability.to(images.dtype)
        motion = torch.eye(3, dtype=images.dtype, device=images.device).expand(len(images), 3, 3)
        if "blit" in numbers:
            motion = _product(_blit(numbers["blit"], probability, side), motion)
        if "geometric" in numbers:
            motion = _product(motion, _geometric(numbers["geometric"], probability, side))
        if "blit" in numbers or "geometric" in numbers:
            images = _sample(images, motion)
        return _colour(images, numbers["color"], probability) if "color" in numbers else images


# Random choices. The first column of each transform decides whether it is done.


def _gate(decide, probability, value, otherwise):
    return torch.where(decide < probability, value, torch.full_like(value, otherwise))


def _normal(uniform):
    """Uniform numbers -> normal ones."""
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))


# Motions: matrices (N, 3, 3) that take a place (x, y, 1) of the new image, in pixels from its centre, to
# where the pixel there comes from.


def _affine(a, b, c, d, x, y):
    """The matrices of [[a, b, x], [c, d, y], [0, 0, 1]], of numbers (N,)."""
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, b, x, c, d, y, zero, zero, one], dim=1).view(-1, 3, 3)


def _product(first, *others):
    """The product of matrices (N, n, n), multiplied out: no precision of matrix products applies."""
    for matrix in others:
        first = (first[:, :, :, None] * matrix[:, None]).sum(2)
    return first


def _rotation(angle):
    zero = torch.zeros_like(angle)
    return _affine(angle.cos(), angle.sin(), -angle.sin(), angle.cos(), zero, zero)


def _blit(numbers, p, side):
    """Mirroring, quarter turns, and shifts in whole pixels of up to 1/8 of the side: nothing is smoothed."""
    flip, mirrored, turn, turns, shift, *shifts = numbers.unbind(1)
    zero, one = torch.zeros_like(flip), torch.ones_like(flip)
    sign = _gate(flip, p, 1 - 2 * whole(mirrored, 2).to(flip.dtype), 1.0)
    turns = _gate(turn, p, whole(turns, 4).to(flip.dtype), 0.0)
    is_odd = turns % 2 == 1
    cosine, sine = torch.where(is_odd, zero, 1 - turns), torch.where(is_odd, 2 - turns, zero)
    most = int(side * SHIFT + 0.5)
    x, y = (_gate(shift, p, whole(each, 2 * most + 1).to(flip.dtype) - most, 0.0) for each in shifts)
    turned = _affine(cosine, sine, -sine, cosine, zero, zero)
    mirrored = _affine(sign, zero, zero, one, zero, zero)
    return _product(turned, mirrored, _affine(one, zero, zero, one, -x, -y))


def _geometric(numbers, p, side):
    """Scaling, rotation, stretching, rotation again, and shifts by fractions of a pixel.

    Each of the two rotations has the probability by which one or the other is done with probability p.
    """
    scale, size, before, angle, stretch, ratio, after, angle_after, shift, *shifts = numbers.unbind(1)
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    once = 1 - (1 - p).sqrt()
    by = 1 / _gate(scale, p, torch.exp2(0.2 * _normal(size)), 1.0)
    ratio = _gate(stretch, p, torch.exp2(0.2 * _normal(ratio)), 1.0)
    x, y = (_gate(shift, p, SHIFT * side * _normal(each), 0.0) for each in shifts)
    turns = [
        _rotation(_gate(decide, once, math.pi * (2 * value - 1), 0.0))
        for decide, value in ((before, angle), (after, angle_after))
    ]
    scaled = _affine(by, zero, zero, by, zero, zero)
    stretched = _affine(1 / ratio, zero, zero, ratio, zero, zero)
    return _product(scaled, turns[0], stretched, turns[1], _affine(one, zero, zero, one, -x, -y))


def _sample(images, motion):
    """images (N, C, H, W) moved by `motion`: bilinear, reflected at the border."""
    height, width = images.shape[2:]
    like = {"dtype": images.dtype, "device": images.device}
    y, x = (torch.arange(size, **like) - (size - 1) / 2 for size in (height, width))
    y, x = torch.meshgrid(y, x, indexing="ij")
    (a, b, c), (d, e, f), _ = (row.unbind(1) for row in motion.unbind(1))
    x, y = x.flatten(), y.flatten()
    from_x = a[:, None] * x + b[:, None] * y + c[:, None] + (width - 1) / 2  # (N, H W)
    from_y = d[:, None] * x + e[:, None] * y + f[:, None] + (height - 1) / 2
    left, top, flat, moved = from_x.floor(), from_y.floor(), images.flatten(2), 0.0
    right, down = from_x - left, from_y - top  # weights
    for column, weight_x in ((left, 1 - right), (left + 1, right)):
        for row, weight_y in ((top, 1 - down), (top + 1, down)):
            index = reflect(row.long(), height) * width + reflect(column.long(), width)
            taken = flat.gather(2, index[:, None].expand(flat.shape))
            moved = moved + taken * (weight_x * weight_y)[:, None]
    return moved.view(images.shape)


# Colours: a matrix (N, 3, 3) and a vector (N, 3) for each image.


def _colour(images, numbers, p):
    """Brightness, contrast, inverted brightness, hue and saturation."""
    bright, add, contrast, factor, invert, inverted, hue, angle, saturate, strength = numbers.unbind(1)
    add = _gate(bright, p, 0.2 * _normal(add), 0.0)
    factor = _gate(contrast, p, torch.exp2(0.5 * _normal(factor)), 1.0)
    inverted = _gate(invert, p, whole(inverted, 2).to(add.dtype), 0.0)
    angle = _gate(hue, p, math.pi * (2 * angle - 1), 0.0)
    strength = _gate(saturate, p, torch.exp2(_normal(strength)), 1.0)
    like = {"dtype": images.dtype, "device": images.device}
    along = torch.full((3, 3), GRAY**2, **like)  # onto the axis of brightness
    next_one = torch.eye(3, **like).roll(1, 0)
    around = GRAY * (next_one - next_one.mT)  # a quarter turn about it
    across = torch.eye(3, **like) - along
    brightness = (1 - 2 * inverted)[:, None, None] * along
    turned = angle.cos()[:, None, None] * across + angle.sin()[:, None, None] * around
    matrix = factor[:, None, None] * (brightness + strength[:, None, None] * turned)
    vector = (1 - 2 * inverted) * factor * add  # brightness is added first
    return (matrix[..., None, None] * images[:, None]).sum(2) + vector[:, None, None, None]


COLUMNS = {"blit": 7, "geometric": 11, "color": 10}
