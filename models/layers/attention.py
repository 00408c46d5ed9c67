"""Self-attention over the positions of an image (SAGAN: Zhang et al., ICML 2019)."""

import torch
import torch.nn.functional as F
from torch import nn

from models.layers.spectral_norm import add_spectral_norm, joint_weights


class SelfAttention(nn.Module):
    """x + gain * the values of all positions, weighted by how well their keys match the position's query.

    Keys and values are halved in resolution by a maximum. The gain is one number and starts at 0, so that an
    untrained layer changes nothing. The four 1x1 convolutions have spectral norm and no bias, as there.
    """

    def __init__(self, channels):
        super().__init__()
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.key = nn.Conv2d(channels, inner, kernel_size=1, bias=False)
        self.value = nn.Conv2d(channels, values, kernel_size=1, bias=False)
        self.out = nn.Conv2d(values, channels, kernel_size=1, bias=False)
        self.gain = nn.Parameter(torch.zeros(1))
        add_spectral_norm(self)

    def forward(self, x):
        """(N, C, H, W) -> (N, C, H, W), for an even H and W."""
        with joint_weights(self):
            query = self.query(x).flatten(2)
            key, value = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
            weights = (query.mT @ key).softmax(dim=2)  # (N, positions, a quarter as many)
            return x + self.gain * self.out((value @ weights.mT).unflatten(2, x.shape[2:]))
