"""Layers that the noise modulates, as in style-based generators.

Each has a network of its own from the noise to scales and shifts, as in self-modulation. StyleGAN's layers
share a deeper one instead; with one each, the size of a cell does not depend on the other cells.
"""

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.resampled import conv_of_doubled, upsample

HIDDEN = 32  # units of the hidden layer, as in self-modulation
EPS = 1e-8  # added to squared norms, as in StyleGAN2


class Style(nn.Module):
    """A hidden layer and a linear one, from the noise to `count` vectors of `channels` values each.

    They start near 0: the weights' standard deviation is 0.02.
    """

    def __init__(self, noise_dim, channels, count):
        super().__init__()
        self.count = count
        self.hidden, self.out = nn.Linear(noise_dim, HIDDEN), nn.Linear(HIDDEN, count * channels)
        for layer in (self.hidden, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, noise):
        """(N, noise_dim) -> a tuple of `count` tensors (N, channels)."""
        return self.out(F.relu(self.hidden(noise))).chunk(self.count, dim=1)


class SelfModulatedBatchNorm2d(nn.Module):
    """Batch norm, then (1 + gain(z)) x + shift(z) (Chen et al., ICLR 2019)."""

    def __init__(self, channels, noise_dim):
        super().__init__()
        self.batch = nn.BatchNorm2d(channels, affine=False)
        self.style = Style(noise_dim, channels, count=2)

    def forward(self, x, noise):
        """(N, C, H, W), (N, noise_dim) -> (N, C, H, W)."""
        return _scale_and_shift(self.batch(x), *self.style(noise))


class AdaptiveInstanceNorm2d(nn.Module):
    """Instance norm, then (1 + gain(z)) x + shift(z): AdaIN (Karras et al., CVPR 2019)."""

    def __init__(self, channels, noise_dim):
        super().__init__()
        self.instance = nn.InstanceNorm2d(channels)
        self.style = Style(noise_dim, channels, count=2)

    def forward(self, x, noise):
        """(N, C, H, W), (N, noise_dim) -> (N, C, H, W)."""
        return _scale_and_shift(self.instance(x), *self.style(noise))


class ModulatedConv2d(nn.Conv2d):
    """A 3x3 convolution whose kernels the noise scales; then each is divided by its norm.

    Every input channel is scaled by s = 1 + scale(z), every output channel by 1 / the norm of its scaled
    kernel (Karras et al., CVPR 2020). The images are scaled instead of the kernels: before the convolution by
    s, after it by the norms. This is the same, and takes no grouped convolution.
    """

    def __init__(self, in_channels, out_channels, noise_dim):
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)
        self.style = Style(noise_dim, in_channels, count=1)

    def forward(self, x, noise, up=None, deconvs=(), *, merged=False):
        """(N, C, H, W), (N, noise_dim) -> (N, C', H, W), or (N, C', 2H, 2W) if `up` names an upsampling.

        deconvs, merged: see models.layers.resampled.
        """
        scale = 1 + self.style(noise)[0]
        power = scale.square() @ self.weight.square().sum((2, 3)).T
        if up == "deconv":
            x, up = upsample(x, up, deconvs), None
        x = x * _as_map(scale)
        if merged and up == "nearest":
            x = conv_of_doubled(x, self.weight)
        else:
            x = F.conv2d(x if up is None else upsample(x, up), self.weight, padding=1)
        return x * _as_map(torch.rsqrt(power + EPS)) + self.bias[:, None, None]


def _scale_and_shift(x, gain, shift):
    """(1 + gain) x + shift: (N, C, H, W) and twice (N, C) -> (N, C, H, W)."""
    return x * _as_map(1 + gain) + _as_map(shift)


def _as_map(values):
    """(N, C) -> (N, C, 1, 1)."""
    return values[:, :, None, None]
