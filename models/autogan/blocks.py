"""The cell that AutoGAN's generators are made of, and the discriminator's residual blocks."""

import torch.nn.functional as F
from torch import nn

from models.layers.attention import SelfAttention
from models.layers.conditional_norm import ConditionalBatchNorm2d
from models.layers.resampled import conv_of_upsampled, mean_of_conv
from models.layers.style import AdaptiveInstanceNorm2d, ModulatedConv2d, SelfModulatedBatchNorm2d

NORMS = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
STYLED_NORMS = {"self_modulated": SelfModulatedBatchNorm2d, "adain": AdaptiveInstanceNorm2d}


def norm_layer(name, channels, num_classes=0, noise_dim=0):
    """A layer of NORMS or STYLED_NORMS; if there are classes, batch norm depends on them."""
    if name in STYLED_NORMS:
        return STYLED_NORMS[name](channels, noise_dim)
    is_conditional = name == "batch" and num_classes
    return ConditionalBatchNorm2d(channels, num_classes) if is_conditional else NORMS[name](channels)


def normalise(norm, x, labels=None, noise=None):
    """Apply a layer that `norm_layer` made: (N, C, H, W) -> (N, C, H, W).

    labels (N,) and noise (N, noise_dim): for the layers that read them.
    """
    if isinstance(norm, ConditionalBatchNorm2d):
        return norm(x, labels)
    return norm(x, noise) if isinstance(norm, tuple(STYLED_NORMS.values())) else norm(x)


def deconv(in_channels, out_channels):
    """A transposed convolution that doubles the resolution; its outputs do not overlap."""
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)


class ConvUnit(nn.Module):
    """One of a cell's two 3x3 convolutions, with norm and ReLU before ("pre") or after it.

    It has a normalisation layer for each name in `norms`, and a learned upsampling if `with_deconv`. Each
    call says which of them to use. If there are classes, batch norm depends on them. A "modulated"
    convolution and the layers of STYLED_NORMS read the noise.
    """

    merged = False  # whether it is computed in its merged form, see models.layers.resampled

    def __init__(
        self, conv, in_channels, out_channels, norms, with_deconv=False, *, num_classes=0, noise_dim=0
    ):
        super().__init__()
        self.pre_activation, self.is_modulated = conv == "pre", conv == "modulated"
        sizes = in_channels if self.pre_activation else out_channels, num_classes, noise_dim
        self.norm = nn.ModuleDict(
            {name: norm_layer(name, *sizes) for name in sorted(norms) if name != "none"}
        )
        self.deconv = deconv(in_channels, in_channels) if with_deconv else None
        if self.is_modulated:
            self.conv = ModulatedConv2d(in_channels, out_channels, noise_dim)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x, norm, up=None, labels=None, noise=None):
        """(N, C, H, W) -> (N, C', H, W), or (N, C', 2H, 2W) if `up` names an upsampling.

        labels (N,) and noise (N, noise_dim): for the layers that read them.
        """
        if self.pre_activation:
            return self._convolve(self._activate(x, norm, labels, noise), up, noise)
        return self._activate(self._convolve(x, up, noise), norm, labels, noise)

    def _activate(self, x, norm, labels, noise):
        return F.relu(x if norm == "none" else normalise(self.norm[norm], x, labels, noise))

    def _convolve(self, x, up, noise):
        if self.is_modulated:
            return self.conv(x, noise, up, [self.deconv], merged=self.merged)
        if up is None:
            return self.conv(x)
        return conv_of_upsampled(self.conv, x, up, [self.deconv], merged=self.merged)


class Cell(nn.Module):
    """An upsampling cell that can run any of `candidates` (CellSpecs of one level).

    It has only the parameters that they need. With every cell of a level as candidates it is part of the
    shared generator, with a single one it is part of a derived generator. Candidates share weights as in the
    authors' search: all of them share the 1x1 convolutions of the shortcut and the skips, and those with the
    same `conv` share the 3x3 convolutions. All with attention share its layer.
    """

    merged = False  # whether it is computed in its merged form, see models.layers.resampled

    def __init__(self, in_channels, out_channels, candidates, num_classes=0, noise_dim=0):
        super().__init__()
        inputs = {"num_classes": num_classes, "noise_dim": noise_dim}
        self.first, self.second = nn.ModuleDict(), nn.ModuleDict()
        for conv in sorted({spec.conv for spec in candidates}):
            norms = {spec.norm for spec in candidates if spec.conv == conv}
            learns_up = any(spec.up == "deconv" for spec in candidates if spec.conv == conv)
            self.first[conv] = ConvUnit(conv, in_channels, out_channels, norms, learns_up, **inputs)
            self.second[conv] = ConvUnit(conv, out_channels, out_channels, norms, **inputs)

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
                self.skip_up[str(source)] = nn.Sequential(
                    *(deconv(out_channels, out_channels) for _ in range(doublings))
                )
        has_attention = any(spec.attention for spec in candidates)
        self.attention = SelfAttention(out_channels) if has_attention else None

    def forward(self, x, features, spec, labels=None, noise=None):
        """Run candidate `spec` on the input x (N, C, H, W) and the features of all earlier cells.

        labels (N,) and noise (N, noise_dim): for the layers that read them.

        Returns (this cell's feature, its output), both (N, C', 2H, 2W). The feature that later cells get
        includes this cell's own skips; the authors' released weights depend on that.
        """
        feature = self.first[spec.conv](x, spec.norm, spec.up, labels, noise)
        for source, wanted in enumerate(spec.skips):
            if wanted:
                deconvs = self.skip_up[str(source)] if spec.up == "deconv" else ()
                scale = feature.shape[-1] // features[source].shape[-1]
                skip = self.skip[str(source)]
                feature = feature + conv_of_upsampled(
                    skip, features[source], spec.up, deconvs, scale, merged=self.merged
                )
        out = self.second[spec.conv](feature, spec.norm, labels=labels, noise=noise)
        if spec.shortcut:
            out = out + conv_of_upsampled(self.shortcut, x, spec.up, [self.shortcut_up], merged=self.merged)
        return feature, self.attention(out) if spec.attention else out


class FirstDiscriminatorBlock(nn.Module):
    """Residual block on the image. Halves the resolution; does not activate its input."""

    merged = False  # whether it is computed in its merged form, see models.layers.resampled

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x):
        """(N, 3, H, W) -> (N, C, H/2, W/2)."""
        residual = mean_of_conv(self.conv2, F.relu(self.conv1(x)), merged=self.merged)
        return residual + self.shortcut(F.avg_pool2d(x, 2))


class DiscriminatorBlock(nn.Module):
    """Residual block that activates its input. Halves the resolution if `downsample`."""

    merged = False  # whether it is computed in its merged form, see models.layers.resampled

    def __init__(self, channels, downsample=False):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, kernel_size=1) if downsample else None

    def forward(self, x):
        """(N, C, H, W) -> (N, C, H, W), or (N, C, H/2, W/2) if it halves the resolution."""
        hidden = F.relu(self.conv1(F.relu(x)))
        if self.shortcut is None:
            return self.conv2(hidden) + x
        residual = mean_of_conv(self.conv2, hidden, merged=self.merged)
        return residual + mean_of_conv(self.shortcut, x, merged=self.merged)
