"""Joint spectral norms give what PyTorch's give layer by layer: logits, gradients and vectors, in float64."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.autogan.networks import Discriminator
from models.layers.init import prepare
from models.layers.spectral_norm import add_spectral_norm, join_spectral_norms

EXACT = dict(rtol=1e-9, atol=1e-12)


def discriminators(levels=3, df_dim=5):
    """(PyTorch's, joint), of the same weights and vectors."""
    torch.manual_seed(0)
    plain = prepare(Discriminator(levels, df_dim), with_spectral_norm=True).double()
    return plain, join_spectral_norms(copy.deepcopy(plain))


def passes(discriminator, level, images):
    """Logits of two passes, and the gradients of both together: as in a discriminator's step."""
    discriminator.zero_grad(set_to_none=True)
    logits = torch.stack([discriminator(images, level), discriminator(-images, level)])
    (logits * torch.tensor([[[1.0]], [[-2.0]]])).square().sum().backward()
    return logits.detach(), {name: parameter.grad for name, parameter in discriminator.named_parameters()}


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_joint_norms_are_pytorchs_over_several_steps(level, layout):
    plain, joint = (network.to(memory_format=layout) for network in discriminators())
    for step in range(3):
        images = torch.randn(2, 3, 8 << level, 8 << level, dtype=torch.float64)
        (logits, gradients), (joint_logits, joint_gradients) = (
            passes(plain, level, images),
            passes(joint, level, images),
        )
        torch.testing.assert_close(joint_logits, logits, **EXACT)
        for name, gradient in gradients.items():
            assert (gradient is None) == (joint_gradients[name] is None), name
            if gradient is not None:
                torch.testing.assert_close(joint_gradients[name], gradient, **EXACT, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(joint.state_dict()[name], value, **EXACT, msg=name)
    images = torch.randn(2, 3, 8 << level, 8 << level, dtype=torch.float64)
    torch.testing.assert_close(joint.eval()(images, level), plain.eval()(images, level), **EXACT)


def test_the_vectors_of_blocks_that_do_not_run_stay():
    _, joint = discriminators()
    before = {name: value.clone() for name, value in joint.named_buffers()}
    joint(torch.randn(2, 3, 8, 8, dtype=torch.float64), 0)
    moved = {name for name, value in joint.named_buffers() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith(("growing.1", "growing.2")) for name in moved)


def test_the_penalty_of_wgan_gp_differentiates_through_joint_norms():
    """The gradient of a gradient: what its penalty asks of the discriminator."""
    gradients = []
    for discriminator in discriminators(levels=2):
        images = (
            torch.linspace(-1, 1, 2 * 3 * 16 * 16, dtype=torch.float64).view(2, 3, 16, 16).requires_grad_()
        )
        (slope,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        slope.square().sum().backward()
        gradients.append(
            [parameter.grad for name, parameter in discriminator.named_parameters() if "weight" in name]
        )
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, **EXACT)


def test_states_are_exchanged_with_pytorchs_norms():
    plain, joint = discriminators()
    joint(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    plain.load_state_dict(joint.state_dict())
    joint.load_state_dict(plain.state_dict())
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(joint.state_dict().values(), plain.state_dict().values())
    )


def test_a_layer_called_alone_is_normed_too(in_float64):
    layer = add_spectral_norm(torch.nn.Sequential(torch.nn.Linear(4, 3)))
    joint = join_spectral_norms(copy.deepcopy(layer))
    for _ in range(3):
        torch.testing.assert_close(joint(torch.ones(1, 4)), layer(torch.ones(1, 4)))


def test_joint_norms_take_less_than_half_of_the_operations():
    class Operations(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            self.count += not function.is_view
            return function(*arguments, **(named or {}))

    counts = []
    for discriminator in discriminators():
        with Operations() as operations:
            passes(discriminator, 2, torch.randn(2, 3, 32, 32, dtype=torch.float64))
        counts.append(operations.count)
    assert counts[1] < counts[0] / 2
