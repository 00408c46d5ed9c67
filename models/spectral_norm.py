"""Spectral norm (Miyato et al., ICLR 2018): PyTorch's layer by layer, and the same for all layers of a network at once.

Layer by layer it takes some twenty tiny operations per layer and pass, three quarters of all operations in a discriminator's step at
8x8. `join_spectral_norms` stacks the layers' matrices; the weights are equal up to rounding and saved under the same names.
"""

from contextlib import contextmanager

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
    parametrized = [layer.parametrizations.weight for part in parts for layer in part.modules() if is_parametrized(layer, "weight")]
    pairs = [(weight[0], weight.original) for weight in parametrized if isinstance(weight[0], JointSpectralNorm)]
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
    shapes, eps = [weight.shape for weight in weights], norms[0].eps
    with torch.no_grad(), torch.autocast(weights[0].device.type, enabled=False):
        matrices = _stack(weights)
        u, v = (stacked.squeeze(1) for stacked in (_stack([norm._u[None] for norm in norms]), _stack(_rows(norms, shapes))))
        if norms[0].training:
            u = F.normalize(_times(matrices, v), dim=1, eps=eps)
            v = F.normalize(_times(matrices.mT, u), dim=1, eps=eps)
            torch._foreach_copy_([norm._u for norm in norms], [row[: shape[0]] for row, shape in zip(u, shapes)])
            torch._foreach_copy_(_rows(norms, shapes), _unstack(v[:, None], [(1, *shape[1:]) for shape in shapes]))
        sigma = (u * _times(matrices, v)).sum(1)
    return _Divided.apply(matrices, sigma, u, v, *weights)


class _Divided(torch.autograd.Function):
    """Stacked matrices W / sigma, with sigma = u' W v and u, v constant, as a tuple of weights; the gradient goes to the weights."""

    @staticmethod
    def forward(ctx, matrices, sigma, u, v, *weights):
        normed = matrices / sigma[:, None, None]
        ctx.save_for_backward(normed, sigma, u, v)
        ctx.shapes = [weight.shape for weight in weights]
        return tuple(_unstack(normed, ctx.shapes))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        normed, sigma, u, v = ctx.saved_tensors
        gradient = _stack(gradients)
        along = (gradient * normed).sum((1, 2))
        gradient -= (along[:, None] * u)[:, :, None] * v[:, None, :]
        gradient /= sigma[:, None, None]
        return None, None, None, None, *_unstack(gradient, ctx.shapes)


def _stack(weights):
    """Weights (O, C, ...) as one tensor (layers, most O, most of the rest), filled up with zeros; a row's values in channels-last order."""
    shapes = [weight.shape for weight in weights]
    rows, columns = (max(sizes) for sizes in zip(*((len(weight), weight[0].numel()) for weight in weights)))
    stacked = weights[0].new_zeros(len(weights), rows, columns)
    torch._foreach_copy_(_unstack(stacked, shapes), list(weights))
    return stacked


def _unstack(stacked, shapes):
    """Views of `_stack`'s tensor that have the weights' shapes."""
    return [
        matrix[: shape[0], : shape[1:].numel()].unflatten(1, (*shape[2:], shape[1])).movedim(-1, 1)
        for matrix, shape in zip(stacked, map(torch.Size, shapes))
    ]


def _rows(norms, shapes):
    """The norms' right vectors as views of the shape of one row of their weights."""
    return [norm._v.view(1, *shape[1:]) for norm, shape in zip(norms, shapes)]


def _times(matrices, vectors):
    return (matrices @ vectors[:, :, None]).squeeze(2)
