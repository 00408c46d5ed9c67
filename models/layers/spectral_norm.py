"""Spectral norm (Miyato et al., ICLR 2018): PyTorch's, layer by layer, and a joint one for all layers.

PyTorch's takes some twenty tiny operations per layer and pass: three quarters of all operations of a
discriminator step at 8x8. The joint one stacks the weights of all layers. Its results are equal up to
rounding, and its state dict has the same names.
"""

from contextlib import contextmanager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from models.layers.style import ModulatedConv2d


def add_spectral_norm(network):
    """Divide the weight of every convolution and linear layer by its largest singular value.

    Layers that have it stay as they are, and so do modulated convolutions, which scale their kernels
    themselves. Changes the network in place and returns it.
    """
    for layer in list(network.modules()):
        is_layer = isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
        if is_layer and not (isinstance(layer, ModulatedConv2d) or is_parametrized(layer)):
            spectral_norm(layer)
    return network


def has_spectral_norm(network):
    """Whether any layer of a network has it."""
    return any(is_parametrized(layer, "weight") for layer in network.modules())


def join_spectral_norms(network):
    """Replace PyTorch's spectral norms by ones that `joint_weights` can compute together.

    Changes the network in place and returns it.
    """
    for layer in network.modules():
        if is_parametrized(layer, "weight") and not isinstance(layer, nn.ConvTranspose2d):
            layer.parametrizations.weight[0] = JointSpectralNorm(layer.parametrizations.weight[0])
    return network


@contextmanager
def joint_weights(*parts):
    """Normalise the weights of all joint layers of these modules once, for use inside the block.

    In training mode this makes one power iteration, as PyTorch's norm does in a forward pass.
    """
    layers = [layer for part in parts for layer in part.modules() if is_parametrized(layer, "weight")]
    parametrizations = [layer.parametrizations.weight for layer in layers]
    joint = [each for each in parametrizations if isinstance(each[0], JointSpectralNorm)]
    if not joint:
        yield
        return
    norms = [each[0] for each in joint]
    for norm, weight in zip(norms, _normalise(norms, [each.original for each in joint])):
        norm.weight = weight
    try:
        yield
    finally:
        for norm in norms:
            norm.weight = None


class JointSpectralNorm(nn.Module):
    """Replaces PyTorch's spectral norm of one layer and takes over its vectors.

    Inside `joint_weights` it returns the weight that was normalised there; outside it normalises its own.
    """

    weight = None  # the normalised weight, inside `joint_weights`

    def __init__(self, norm):
        super().__init__()
        self.eps = norm.eps
        self.register_buffer("_u", norm._u)
        self.register_buffer("_v", norm._v)

    def forward(self, weight):
        return _normalise([self], [weight])[0] if self.weight is None else self.weight


def _normalise(norms, weights):
    """Divide each weight by its largest singular value, which is estimated by its norm's vectors."""
    layouts, eps = tuple((weight.shape, weight.stride()) for weight in weights), norms[0].eps
    device = weights[0].device.type
    # torch.autocast knows no meta tensors, of which sizes are counted.
    without_autocast = nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
    with torch.no_grad(), without_autocast:
        matrices = _stack(weights, layouts)
        to_memory, to_shape = _memory_orders(layouts, weights[0].device)
        us, vs = [norm._u for norm in norms], [norm._v for norm in norms]
        v = _stack_vectors(vs, matrices.shape[2]).gather(1, to_memory)
        if norms[0].training:
            u = F.normalize(_matvec(matrices, v), dim=1, eps=eps)
            v = F.normalize(_matvec(matrices.mT, u), dim=1, eps=eps)
            torch._foreach_copy_(us, _unstack_vectors(u, us))
            torch._foreach_copy_(vs, _unstack_vectors(v.gather(1, to_shape), vs))
        else:
            u = _stack_vectors(us, matrices.shape[1])
        sigma = (u * _matvec(matrices, v)).sum(1)
    return _Divided.apply(matrices, sigma, u, v, layouts, *weights)


class _Divided(torch.autograd.Function):
    """W / sigma with sigma = u' W v, for stacked matrices W and constant u and v.

    Returns a tuple of weights, and passes gradients to the weights that the matrices were stacked from.
    """

    @staticmethod
    def forward(ctx, matrices, sigma, u, v, layouts, *weights):
        normed = matrices / sigma[:, None, None]
        ctx.save_for_backward(normed, sigma, u, v)
        ctx.layouts = layouts
        return tuple(_unstack(normed, layouts))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        normed, sigma, u, v = ctx.saved_tensors
        gradient = _stack(gradients, ctx.layouts)
        along = (gradient * normed).sum((1, 2))
        gradient -= (along[:, None] * u)[:, :, None] * v[:, None, :]
        gradient /= sigma[:, None, None]
        return None, None, None, None, None, *_unstack(gradient, ctx.layouts)


# Stacking: one matrix per layer, padded with zeros to the size of the largest. Each row keeps the order that
# its values have in the weight's memory (`layouts` lists shapes and strides). This makes copying fast, and a
# view of the stack has the memory layout of the weight.


def _stack(tensors, layouts):
    """Tensors (O, C, ...) -> one tensor (layers, rows, columns).

    rows: the largest O. columns: the largest product of the other dimensions.
    """
    rows, columns = max(shape[0] for shape, _ in layouts), max(shape[1:].numel() for shape, _ in layouts)
    stacked = tensors[0].new_zeros(len(tensors), rows, columns)
    places = _unstack(stacked, layouts)
    # Most tensors fill their place. A GPU copies these in one kernel if the others come separately.
    for fills in (True, False):
        pairs = [
            (place, tensor)
            for place, tensor in zip(places, tensors)
            if (tensor.numel() == rows * columns) is fills
        ]
        if pairs:
            torch._foreach_copy_(*map(list, zip(*pairs)))
    return stacked


def _unstack(stacked, layouts):
    """Views of a tensor made by `_stack`, with the shapes of the tensors that went into it."""
    return [
        matrix.as_strided(shape, (stacked.stride(1), *strides[1:]))
        for matrix, (shape, strides) in zip(stacked, layouts)
    ]


def _stack_vectors(vectors, length):
    stacked = vectors[0].new_zeros(len(vectors), length)
    torch._foreach_copy_(_unstack_vectors(stacked, vectors), vectors)
    return stacked


def _unstack_vectors(stacked, vectors):
    return [row[: len(vector)] for row, vector in zip(stacked, vectors)]


@lru_cache(maxsize=64)
def _memory_orders(layouts, device):
    """Indices (layers, columns) that reorder stacked right singular vectors: to memory order, and back.

    Unstacked vectors are ordered by the shape (C, ...) of the weight.
    """
    to_memory = torch.arange(max(shape[1:].numel() for shape, _ in layouts)).repeat(len(layouts), 1)
    for row, (shape, strides) in zip(to_memory, layouts):
        row.as_strided(shape[1:], strides[1:]).copy_(torch.arange(shape[1:].numel()).view(shape[1:]))
    return to_memory.to(device), to_memory.argsort(1).to(device)


def _matvec(matrices, vectors):
    return (matrices @ vectors[:, :, None]).squeeze(2)
