"""Layers that look at the whole batch where several processes hold a part of it each.

PyTorch's SyncBatchNorm does this on GPUs only.
"""

import torch
import torch.nn.functional as F
from torch import nn

from utils.distributed import add_up, gather_rows, rank, size


def share_batches(network):
    """Let the layers of a network see the rows of all processes, in place. Parameters and buffers stay.

    These are batch norm, and modules with an attribute `gather` (models.growing): a function from this
    process's rows to (all rows, the slice of its own).
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm2d
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise NotImplementedError(f"{type(module).__name__} has no form for several processes")
        if hasattr(module, "gather"):
            module.gather = gather_rows


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of the rows of all processes."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        normed, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(
                (variance * (count / (count - 1))).to(self.running_var.dtype), self.momentum
            )
        return normed


class _Normalise(torch.autograd.Function):
    """x (N, C, H, W), weight, bias (C,) or None -> normalised and scaled, mean, variance, values a channel.

    The gradient is that of the sum of all processes' losses. It cannot be differentiated again.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        values, channels = x.to(_type_of_sums(x)), x.shape[1]
        own_variance, own_mean = torch.var_mean(values, (0, 2, 3), correction=0)
        # One message: each process adds its row to a table of zeros.
        table = values.new_zeros(size(), 2 * channels + 1)
        table[rank()] = torch.cat([own_mean, own_variance, own_mean.new_tensor([x.numel() / channels])])
        add_up([table])
        means, variances, counts = table[:, :channels], table[:, channels:-1], table[:, -1:]
        shares = counts / counts.sum()
        mean = (shares * means).sum(0)
        variance = (shares * (variances + (means - mean).square())).sum(0)
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.count, ctx.with_bias = counts.sum(), bias is not None
        normed = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        ctx.mark_non_differentiable(mean, variance, ctx.count)
        return normed, mean, variance, ctx.count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *_):
        x, weight, mean, scale = ctx.saved_tensors
        gradient = gradient.to(mean.dtype)
        centred = (x - _as_map(mean)) * _as_map(scale)
        own = torch.stack([gradient.sum((0, 2, 3)), (gradient * centred).sum((0, 2, 3))])
        along = own.clone()
        add_up([along])
        along /= ctx.count
        factor = scale if weight is None else scale * weight
        to_x = (gradient - _as_map(along[0]) - centred * _as_map(along[1])) * _as_map(factor)
        to_weight = None if weight is None else own[1].to(weight.dtype)
        return to_x.to(x.dtype), to_weight, own[0].to(mean.dtype) if ctx.with_bias else None, None


def _type_of_sums(x):
    return torch.promote_types(x.dtype, torch.float32)


def _as_map(channel_values):
    return channel_values[None, :, None, None]
