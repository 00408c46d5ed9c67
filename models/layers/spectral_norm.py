"""Spectral norm (Miyato et al., ICLR 2018): PyTorch's layer by layer, and the same for all layers of a network at once.

Layer by layer it takes some twenty tiny operations per layer and pass, three quarters of all operations in a discriminator's step at
8x8. `join_spectral_norms` stacks the layers' matrices; the weights are equal up to rounding and saved under the same names.
"""

from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized


def add_spectral_norm(network):
    """Divide the weight of every convolution and linear layer by its largest singular value, in place. Returns the network."""
    for layer in list(network.modules()):
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            spectral_norm(layer)
    return network


def join_spectral_norms(network):
    """Let the normed layers of the network, in place, be ready for `joint_weights`. Returns the network."""
    for layer in network.modules():
        if is_parametrized(layer, "weight") and not isinstance(layer, nn.ConvTranspose2d):
            layer.parametrizations.weight[0] = JointSpectralNorm(layer.parametrizations.weight[0])
    return network


@contextmanager
def joint_weights(*parts):
    """Inside, the layers of these modules have weights normed all at once: one power iteration in training mode, as in any forward pass."""
    parametrized = [
        layer.parametrizations.weight
        for part in parts
        for layer in part.modules()
        if is_parametrized(layer, "weight")
    ]
    pairs = [
        (weight[0], weight.original) for weight in parametrized if isinstance(weight[0], JointSpectralNorm)
    ]
    if not pairs:
        yield
        return
    norms, weights = zip(*pairs)
    for norm, weight in zip(norms, _normed(norms, weights)):
        norm.given = weight
    try:
        yield
    finally:
        for norm in norms:
            norm.given = None


class JointSpectralNorm(nn.Module):
    """In the place of PyTorch's spectral norm and with its vectors: gives the weight that `joint_weights` has computed."""

    given = None

    def __init__(self, norm):
        super().__init__()
        self.eps = norm.eps
        self.register_buffer("_u", norm._u)
        self.register_buffer("_v", norm._v)

    def forward(self, weight):
        return _normed([self], [weight])[0] if self.given is None else self.given


def _normed(norms, weights):
    """The weights, each divided by its largest singular value as its norm's vectors find it."""
    layouts, eps = tuple((weight.shape, weight.stride()) for weight in weights), norms[0].eps
    with torch.no_grad(), torch.autocast(weights[0].device.type, enabled=False):
        matrices = _stack(weights, layouts)
        inward, outward = _orders(layouts, weights[0].device)
        us, vs = [norm._u for norm in norms], [norm._v for norm in norms]
        v = _stack_vectors(vs, matrices.shape[2]).gather(1, inward)
        if norms[0].training:
            u = F.normalize(_times(matrices, v), dim=1, eps=eps)
            v = F.normalize(_times(matrices.mT, u), dim=1, eps=eps)
            torch._foreach_copy_(us, _unstack_vectors(u, us))
            torch._foreach_copy_(vs, _unstack_vectors(v.gather(1, outward), vs))
        else:
            u = _stack_vectors(us, matrices.shape[1])
        sigma = (u * _times(matrices, v)).sum(1)
    return _Divided.apply(matrices, sigma, u, v, layouts, *weights)


class _Divided(torch.autograd.Function):
    """Stacked matrices W / sigma, with sigma = u' W v and u, v constant, as a tuple of weights; the gradient goes to the weights."""

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


# Stacking: one matrix per layer, filled up with zeros to the size of the largest. A row holds its values in the order in which they lie
# in the weight's memory (`layouts`: shapes and strides), so that copying them is fast and the parts are weights of the same layout.


def _stack(tensors, layouts):
    """Tensors (O, C, ...) -> (layers, most O, most of the rest)."""
    rows, columns = max(shape[0] for shape, _ in layouts), max(shape[1:].numel() for shape, _ in layouts)
    stacked = tensors[0].new_zeros(len(tensors), rows, columns)
    places = _unstack(stacked, layouts)
    for fills in (True, False):  # a GPU copies those that fill their place, most of them, in one kernel
        pairs = [
            (place, tensor)
            for place, tensor in zip(places, tensors)
            if (tensor.numel() == rows * columns) is fills
        ]
        if pairs:
            torch._foreach_copy_(*map(list, zip(*pairs)))
    return stacked


def _unstack(stacked, layouts):
    """Views of `_stack`'s tensor with the shapes of what went into it."""
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
def _orders(layouts, device):
    """Indices (layers, columns) that bring stacked right vectors from the order of the shape (C, ...) to the order of memory, and back."""
    inward = torch.arange(max(shape[1:].numel() for shape, _ in layouts)).repeat(len(layouts), 1)
    for row, (shape, strides) in zip(inward, layouts):
        row.as_strided(shape[1:], strides[1:]).copy_(torch.arange(shape[1:].numel()).view(shape[1:]))
    return inward.to(device), inward.argsort(1).to(device)


def _times(matrices, vectors):
    return (matrices @ vectors[:, :, None]).squeeze(2)
