"""The cell every AutoGAN generator is made of, and the discriminator's residual blocks."""

import torch.nn.functional as F
from torch import nn

NORMS = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}


def deconv(in_channels, out_channels):
    """The transposed convolution that doubles the resolution without overlap."""
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)


class ConvUnit(nn.Module):
    """One of a cell's two convolutions, with its norm and ReLU before it (`conv` "pre") or after it ("post").

    Holds one normalisation layer per name in `norms` and, if `with_deconv`, an upsampling one; the call says which to use.
    """

    def __init__(self, conv, in_channels, out_channels, norms, with_deconv=False):
        super().__init__()
        self.pre_activation = conv == "pre"
        normed_channels = in_channels if self.pre_activation else out_channels
        self.norm = nn.ModuleDict({name: NORMS[name](normed_channels) for name in sorted(norms) if name != "none"})
        self.deconv = deconv(in_channels, in_channels) if with_deconv else None
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x, norm, up=None):
        """(N, C, H, W) -> (N, C', H, W), or twice as large if `up` names an upsampling."""
        if self.pre_activation:
            return self.conv(self._upsample(self._activate(x, norm), up))
        return self._activate(self.conv(self._upsample(x, up)), norm)

    def _activate(self, x, norm):
        return F.relu(x if norm == "none" else self.norm[norm](x))

    def _upsample(self, x, up):
        return x if up is None else upsample(x, up, self.deconv)


def upsample(x, up, learned, scale=2):
    """Enlarge (N, C, H, W) by `scale` as the cell's `up` says; `learned` is the deconvolution to use if it says so."""
    return learned(x) if up == "deconv" else F.interpolate(x, scale_factor=scale, mode=up)


class Cell(nn.Module):
    """An upsampling cell that can run any of `candidates` (CellSpecs of one level), and holds exactly the parameters they need.

    Given every cell of a level it is a piece of the shared generator; given one, of a derived generator. Candidates share what the
    authors' search shares: all of them the 1x1 convolutions of shortcut and skips, those of one conv type its 3x3 convolutions.
    """

    def __init__(self, in_channels, out_channels, candidates):
        super().__init__()
        self.first, self.second = nn.ModuleDict(), nn.ModuleDict()
        for conv in sorted({spec.conv for spec in candidates}):
            norms = {spec.norm for spec in candidates if spec.conv == conv}
            learns_up = any(spec.up == "deconv" for spec in candidates if spec.conv == conv)
            self.first[conv] = ConvUnit(conv, in_channels, out_channels, norms, with_deconv=learns_up)
            self.second[conv] = ConvUnit(conv, out_channels, out_channels, norms)

        self.shortcut = self.shortcut_up = None
        if any(spec.shortcut for spec in candidates):
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        if any(spec.shortcut and spec.up == "deconv" for spec in candidates):
            self.shortcut_up = deconv(in_channels, in_channels)

        self.skip, self.skip_up = nn.ModuleDict(), nn.ModuleDict()
        level = len(candidates[0].skips)
        for source in range(level):
            if any(spec.skips[source] for spec in candidates):
                self.skip[str(source)] = nn.Conv2d(out_channels, out_channels, kernel_size=1)
            if any(spec.skips[source] and spec.up == "deconv" for spec in candidates):
                doublings = level - source
                self.skip_up[str(source)] = nn.Sequential(*(deconv(out_channels, out_channels) for _ in range(doublings)))

    def forward(self, x, features, spec):
        """(N, C, H, W) and the features of all earlier cells -> (this cell's feature, its output), both (N, C', 2H, 2W).

        The feature handed on includes the skips added to it: the released weights depend on that.
        """
        feature = self.first[spec.conv](x, spec.norm, spec.up)
        for source, wanted in enumerate(spec.skips):
            if wanted:
                learned = self.skip_up[str(source)] if spec.up == "deconv" else None
                scale = feature.shape[-1] // features[source].shape[-1]
                feature = feature + self.skip[str(source)](upsample(features[source], spec.up, learned, scale))
        out = self.second[spec.conv](feature, spec.norm)
        if spec.shortcut:
            out = out + self.shortcut(upsample(x, spec.up, self.shortcut_up))
        return feature, out


class FirstDiscriminatorBlock(nn.Module):
    """Residual block on the image itself: no activation before the first convolution; halves the resolution."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x):
        """(N, 3, H, W) -> (N, C, H/2, W/2)."""
        residual = self.conv2(F.relu(self.conv1(x)))
        return F.avg_pool2d(residual, 2) + self.shortcut(F.avg_pool2d(x, 2))


class DiscriminatorBlock(nn.Module):
    """Pre-activation residual block; halves the resolution if `downsample`."""

    def __init__(self, channels, downsample=False):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, kernel_size=1) if downsample else None

    def forward(self, x):
        """(N, C, H, W) -> (N, C, H, W), or half as large."""
        residual = self.conv2(F.relu(self.conv1(F.relu(x))))
        if self.shortcut is None:
            return residual + x
        return F.avg_pool2d(residual, 2) + F.avg_pool2d(self.shortcut(x), 2)
