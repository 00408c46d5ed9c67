"""ProgGAN's layers (Karras et al., ICLR 2018)."""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import nn

from models.growing.architecture import FIRST_RESOLUTION
from models.layers.resampled import conv_of_doubled


class EqualizedConv(nn.Module):
    """A convolution with an equalised learning rate.

    Its weights start as N(0, 1) and are multiplied by He's factor gain / sqrt(fan in) at every use. An odd
    kernel keeps the resolution. An even kernel, as large as its input, makes a dense layer.
    """

    merged = False  # whether it is computed in its merged form, see models.layers.resampled

    def __init__(self, inputs, filters, kernel, gain=sqrt(2)):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(filters, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(filters))
        self.scale = gain / sqrt(inputs * kernel**2)
        self.padding = kernel // 2 if kernel % 2 else 0

    def forward(self, x):
        """(N, inputs, H, W) -> (N, filters, H, W), or (N, filters, 1, 1) if an even kernel covers x."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)

    def convolve_doubled(self, x):
        """The convolution of `upsample(x)`: (N, inputs, H, W) -> (N, filters, 2H, 2W)."""
        return conv_of_doubled(x, self.weight * self.scale, self.bias) if self.merged else self(upsample(x))

    def spread(self, x):
        """Transposed convolution with an even kernel k: (N, inputs, 1, 1) -> (N, filters, k, k)."""
        return F.conv_transpose2d(x, self.weight.transpose(0, 1) * self.scale, self.bias)


def layer_name(level, index):
    """The name of a convolution's layer in both networks: `8x8_1` is the second one at 8x8."""
    resolution = FIRST_RESOLUTION << level
    return f"{resolution}x{resolution}_{index}"


def activate(x):
    """The leaky ReLU that follows every layer but the last one of each network."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x):
    """Divide the feature vector (dimension 1) of each pixel, or a latent, by its root mean square."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def minibatch_deviation(x, group=4, gather=None):
    """Minibatch standard deviation: (N, C, H, W) -> (N, C + 1, H, W), with one more map.

    The map is constant: the standard deviation within a group of images, averaged over maps and pixels.
    Groups have `group` images, or the next smaller number that divides the batch. As in ProgGAN, image n
    belongs to group n modulo the number of groups.
    gather: where x is a part of the batch, a function from it to (the whole batch, the slice that x is).
    """
    own, part = x, None
    if gather:
        x, part = gather(own)
    count = len(x)
    group = max(size for size in range(1, min(group, count) + 1) if count % size == 0)
    groups = x.unflatten(0, (group, count // group))
    variance = (groups - groups.mean(0)).square().mean(0)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
    maps = deviation.repeat(group, 1, *x.shape[2:])
    # Without a part no slice at all: its gradient has another memory order, and so another rounding.
    return torch.cat([own, maps if part is None else maps[part]], 1)


def upsample(x):
    """(N, C, H, W) -> (N, C, 2H, 2W), nearest neighbour."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x):
    """(N, C, 2H, 2W) -> (N, C, H, W), mean of 2x2."""
    return F.avg_pool2d(x, 2)
