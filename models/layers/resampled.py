"""Convolutions next to a change of resolution, each in a plain and in a merged form.

A convolution after a nearest-neighbour upsampling reads every value four times. A convolution before a 2x2
mean computes four values and keeps their mean only. Both can be merged into a single convolution of stride 2
with a kernel one larger, which takes about half the multiplications. The results are equal up to rounding.
"""

import torch.nn.functional as F


def merge_resampling(network):
    """Switch all blocks that have a merged form to it, in place, and return the network."""
    for module in network.modules():
        if hasattr(module, "merged"):
            module.merged = True
    return network


def upsample(x, up, deconvs=(), scale=2):
    """(N, C, H, W) -> (N, C, scale H, scale W), by a cell's choice `up`.

    `up` is "nearest", "bilinear" or "deconv". For "deconv", each of the transposed convolutions `deconvs`
    doubles the resolution, and `scale` is not read.
    """
    if up != "deconv":
        return F.interpolate(x, scale_factor=scale, mode=up)
    for deconv in deconvs:
        x = deconv(x)
    return x


def conv_of_upsampled(conv, x, up, deconvs=(), scale=2, *, merged=False):
    """conv(upsample(x, up, deconvs, scale)), for a 1x1 or 3x3 convolution that keeps the resolution."""
    if not merged:
        return conv(upsample(x, up, deconvs, scale))
    if up == "deconv":
        *earlier, last = deconvs
        return _conv_of_deconv(conv, upsample(x, up, earlier), last)
    if conv.kernel_size == (1, 1):
        # The weights of an interpolation sum to one, so that even the bias may be added first.
        return upsample(conv(x), up, deconvs, scale)
    if up == "nearest" and scale == 2:
        return conv_of_doubled(x, conv.weight, conv.bias)
    return conv(upsample(x, up, deconvs, scale))


def conv_of_doubled(x, weight, bias=None):
    """Upsample by nearest neighbour and convolve, as one operation: (N, C, H, W) -> (N, O, 2H, 2W).

    `weight` is (O, C, k, k) with an odd k.
    """
    kernel = _sums_of_2x2(weight).flip(2, 3).transpose(0, 1)
    bias = None if bias is None else bias[:, None, None]
    return _transposed_conv(x, kernel, bias, padding=weight.shape[-1] // 2)


def mean_of_conv(conv, x, *, merged=False):
    """The 2x2 mean of conv(x), for a 1x1 or 3x3 convolution: (N, C, 2H, 2W) -> (N, O, H, W)."""
    if not merged:
        return F.avg_pool2d(conv(x), 2)
    if conv.kernel_size == (1, 1):
        return conv(F.avg_pool2d(x, 2))
    return F.conv2d(x, _sums_of_2x2(conv.weight, divisor=4), conv.bias, stride=2, padding=conv.padding)


def _sums_of_2x2(weight, divisor=1):
    """(O, C, k, k) -> (O, C, k + 1, k + 1): the sums over 2x2 windows of the kernel, over `divisor`."""
    return F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=divisor)


def _conv_of_deconv(conv, x, deconv):
    """conv(deconv(x)) for a transposed convolution of stride 2.

    Both are linear, so their kernels are convolved with each other. At the border the convolution pads with
    zeros, not with the bias of the first, so this bias goes through the convolution as an image.
    """
    weight = conv.weight
    kernel = F.conv_transpose2d(deconv.weight, weight.flip(2, 3).transpose(0, 1))
    height, width = (2 * size for size in x.shape[2:])
    bias_image = deconv.bias[None, :, None, None].expand(-1, -1, height, width)
    bias = F.conv2d(bias_image, weight, conv.bias, padding=conv.padding)
    return _transposed_conv(x, kernel, bias, padding=conv.padding)


def _transposed_conv(x, kernel, bias, padding):
    """A transposed convolution of stride 2. A bias added here has a cheaper gradient than PyTorch's."""
    out = F.conv_transpose2d(x, kernel, stride=2, padding=padding)
    return out if bias is None else out + bias.to(out.dtype)
