"""Convolutions next to a change of resolution, the plain way and merged: the same function of x in about half the multiplications.

A convolution of an image whose resolution was just doubled reads every value four times, one whose output is averaged over 2x2
computes what the mean throws together. Both are a single convolution of stride 2 with a kernel one larger. Merged and plain results
are equal up to rounding; `merge_resampling` switches a whole network.
"""

import torch.nn.functional as F


def merge_resampling(network):
    """Let every block of the network that can merge its convolutions do so, in place. Returns the network."""
    for module in network.modules():
        if hasattr(module, "merged"):
            module.merged = True
    return network


def upsample(x, up, deconvs=(), scale=2):
    """Enlarge (N, C, H, W) by `scale` as the cell's `up` says; `deconvs` are the deconvolutions, each doubling, to use if it says so."""
    if up != "deconv":
        return F.interpolate(x, scale_factor=scale, mode=up)
    for deconv in deconvs:
        x = deconv(x)
    return x


def conv_of_upsampled(conv, x, up, deconvs=(), scale=2, *, merged=False):
    """conv(upsample(x, up, deconvs, scale)) for a convolution that keeps the resolution, 1x1 or 3x3."""
    if not merged:
        return conv(upsample(x, up, deconvs, scale))
    if up == "deconv":
        *earlier, last = deconvs
        return _conv_of_deconv(conv, upsample(x, up, earlier), last)
    if conv.kernel_size == (1, 1):
        return upsample(
            conv(x), up, deconvs, scale
        )  # interpolation weights sum to one, so even the bias may come first
    if up == "nearest" and scale == 2:
        return conv_of_doubled(x, conv.weight, conv.bias)
    return conv(upsample(x, up, deconvs, scale))


def conv_of_doubled(x, weight, bias):
    """The convolution (weight (O, C, k, k), k odd) of x (N, C, H, W) doubled by nearest neighbour: (N, O, 2H, 2W)."""
    kernel = _sums_of_2x2(weight).flip(2, 3).transpose(0, 1)
    return _transposed_conv(x, kernel, bias[:, None, None], padding=weight.shape[-1] // 2)


def mean_of_conv(conv, x, *, merged=False):
    """The mean over 2x2 of a convolution that keeps the resolution, 1x1 or 3x3: (N, C, 2H, 2W) -> (N, O, H, W)."""
    if not merged:
        return F.avg_pool2d(conv(x), 2)
    if conv.kernel_size == (1, 1):
        return conv(F.avg_pool2d(x, 2))
    return F.conv2d(x, _sums_of_2x2(conv.weight, divisor=4), conv.bias, stride=2, padding=conv.padding)


def _sums_of_2x2(weight, divisor=1):
    """(O, C, k, k) -> (O, C, k + 1, k + 1): the kernel convolved with a 2x2 of ones, and divided."""
    return F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=divisor)


def _conv_of_deconv(conv, x, deconv):
    """conv(deconv(x)) for the deconvolution of stride 2: both are linear, so their kernels are convolved with each other.

    The deconvolution's bias meets the zero padding at the border, so it passes through the convolution as one image.
    """
    weight = conv.weight
    kernel = F.conv_transpose2d(deconv.weight, weight.flip(2, 3).transpose(0, 1))
    height, width = (2 * size for size in x.shape[2:])
    bias = F.conv2d(
        deconv.bias[None, :, None, None].expand(-1, -1, height, width),
        weight,
        conv.bias,
        padding=conv.padding,
    )
    return _transposed_conv(x, kernel, bias, padding=conv.padding)


def _transposed_conv(x, kernel, bias, padding):
    """A transposed convolution of stride 2; adding the bias outside costs less than the library's sum of its gradient."""
    out = F.conv_transpose2d(x, kernel, stride=2, padding=padding)
    return out + bias.to(out.dtype)
