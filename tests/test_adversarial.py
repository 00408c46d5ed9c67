"""The adversarial step and the loop over it, beside the same written plainly with torch.optim.Adam, in
float64.
"""

import copy

import pytest
import torch
from running import training_options
from torch import nn

from utils.randomness import global_seed
from utils.training.adversarial import StepFunctions, discriminator_step, generator_step
from utils.training.gan import Gan, new_gan
from utils.training.inputs import Batch
from utils.training.loop import train_steps

STEPS, N_CRITIC, BETAS, G_LR, D_LR = 12, 3, (0.5, 0.9), 0.02, 0.03


def loss_of(result):
    """The loss that an update returns, alone or before other figures."""
    return result.flatten()[0].item()


def networks():
    """A generator of 2 x 2 images with batch norm and a discriminator; the same weights every time."""
    with global_seed(0):
        generator = nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2)), nn.BatchNorm2d(3), nn.Tanh())
        return generator.double(), nn.Sequential(
            nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 1)
        ).double()


def inputs():
    """The batch of every step."""
    drawn = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        real, noise, generator_noise = (
            torch.randn(shape, generator=drawn, dtype=torch.float64)
            for shape in ((5, 3, 2, 2), (5, 4), (7, 4))
        )
        yield Batch(step, real, noise, generator_noise if step % N_CRITIC == 0 else None)


def train_plainly(generator, discriminator, max_grad_norm, decay, lr_factor):
    """(discriminator's losses, generator's losses, average generator) of the algorithm as the papers have it."""
    average = copy.deepcopy(generator)
    g_adam, d_adam = (
        torch.optim.Adam(generator.parameters(), G_LR, BETAS),
        torch.optim.Adam(discriminator.parameters(), D_LR, BETAS),
    )
    d_losses, g_losses = [], []

    def update(network, adam, loss):
        adam.zero_grad()
        loss.backward()
        norm = torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm()
        if max_grad_norm and norm > max_grad_norm:
            for parameter in network.parameters():
                parameter.grad *= max_grad_norm / norm
        adam.step()
        return loss.item()

    for step, real, noise, generator_noise, *_ in inputs():
        fake_logits, real_logits = discriminator(generator(noise).detach()), discriminator(real)
        hinge = (1 - real_logits).clamp(min=0).mean() + (1 + fake_logits).clamp(min=0).mean()
        d_losses.append(update(discriminator, d_adam, hinge))
        g_losses.append(None)
        if step % N_CRITIC == 0:
            g_losses[-1] = update(generator, g_adam, -discriminator(generator(generator_noise)).mean())
            for name, value in average.state_dict().items():
                trained = generator.state_dict()[name]
                value.copy_(decay * value + (1 - decay) * trained if value.is_floating_point() else trained)
            g_adam.param_groups[0]["lr"], d_adam.param_groups[0]["lr"] = (
                G_LR * lr_factor(step),
                D_LR * lr_factor(step),
            )
    return d_losses, g_losses, average


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("max_grad_norm", [0.0, 0.1])
def test_training_is_the_plain_loop_with_average_falling_learning_rate_and_clipped_gradients(
    fast, max_grad_norm
):
    plain = networks()
    *expected, average = train_plainly(
        *plain, max_grad_norm, decay=0.9, lr_factor=lambda step: 1 - step / STEPS
    )
    options = training_options(
        g_lr=G_LR, d_lr=D_LR, beta1=BETAS[0], beta2=BETAS[1], max_grad_norm=max_grad_norm
    )
    gan = new_gan(*networks(), torch.device("cpu"), options, with_average=True, fast=fast)
    functions = StepFunctions(gan.generator, gan.discriminator)
    d_losses, g_losses = train_steps(
        gan, inputs(), lambda step: functions, options, ema_decay=0.9, lr_factor=lambda step: 1 - step / STEPS
    )
    assert [loss is not None for loss in g_losses] == [step % N_CRITIC == 0 for step in range(STEPS)]
    for found, wanted in zip((d_losses, g_losses[::N_CRITIC]), (expected[0], expected[1][::N_CRITIC])):
        assert found == pytest.approx(wanted, rel=1e-4)
    for mine, theirs in zip((gan.generator, gan.discriminator, gan.average), (*plain, average)):
        for name, value in theirs.state_dict().items():
            assert torch.allclose(mine.state_dict()[name], value, rtol=1e-4, atol=1e-5), name


def gan_of(generator, discriminator, generator_optimizer=None):
    """A Gan whose optimisers move by the gradient itself."""
    g_sgd, d_sgd = (torch.optim.SGD(network.parameters(), lr=1.0) for network in (generator, discriminator))
    return Gan(generator, discriminator, generator_optimizer or g_sgd, d_sgd)


def d_step(generator, discriminator, **options):
    gan, batch = gan_of(generator, discriminator), next(inputs())
    return discriminator_step(
        gan, StepFunctions(generator, discriminator), batch.real, batch.noise, **options
    )


def g_step(generator, discriminator, **options):
    gan, batch = gan_of(generator, discriminator), next(inputs())
    return generator_step(gan, StepFunctions(generator, discriminator), batch.generator_noise, **options)


@pytest.mark.parametrize("step, trained", [(g_step, 0), (d_step, 1)])
def test_a_step_moves_its_own_network_and_gives_the_other_no_gradient(step, trained):
    pair, before = networks(), networks()
    result = step(*pair)
    assert loss_of(result) == pytest.approx(loss_of(step(*networks()))) and not result.requires_grad
    changed = [
        [not torch.equal(a, b) for a, b in zip(network.parameters(), old.parameters())]
        for network, old in zip(pair, before)
    ]
    assert any(changed[trained]) and not any(changed[1 - trained])
    assert all(
        parameter.grad is None and parameter.requires_grad for parameter in pair[1 - trained].parameters()
    )


@pytest.mark.parametrize("step, trained", [(g_step, 0), (d_step, 1)])
@pytest.mark.parametrize("max_grad_norm", [0.01, 1e3])
def test_clipping_shortens_a_longer_gradient_to_the_norm_and_leaves_its_direction(
    step, trained, max_grad_norm
):
    def moved(**options):
        pair = networks()
        before = [parameter.detach().clone() for parameter in pair[trained].parameters()]
        step(*pair, **options)
        return torch.cat([(old - new).flatten() for old, new in zip(before, pair[trained].parameters())])

    free, clipped = moved(), moved(max_grad_norm=max_grad_norm)
    assert 0.01 < free.norm() < 1e3
    assert torch.allclose(clipped, free * min(1.0, max_grad_norm / free.norm().item()), rtol=1e-3)


def test_the_discriminator_learns_again_after_a_generator_step_that_failed():
    generator, discriminator = networks()
    gan, functions = gan_of(generator, discriminator), StepFunctions(generator, discriminator)
    with pytest.raises(RuntimeError, match="shapes"):
        generator_step(gan, functions, torch.zeros(7, 5).double())
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_fake_images_of_another_size_than_the_real_ones_are_refused():
    generator, discriminator = networks()
    functions, batch = StepFunctions(lambda noise: generator(noise)[:, :, :1], discriminator), next(inputs())
    with pytest.raises(ValueError, match="differ in shape"):
        discriminator_step(gan_of(generator, discriminator), functions, batch.real, batch.noise)


def test_what_a_step_does_not_use_has_a_gradient_of_zero_in_adams_averages():
    """As in the authors' search, where another architecture is drawn for every step."""
    (used, unused), (_, discriminator) = (networks()[0] for _ in range(2)), networks()
    adam = torch.optim.Adam([*used.parameters(), *unused.parameters()], G_LR, BETAS)
    gan = gan_of(used, discriminator, adam)
    for generate in (unused, used):
        generator_step(gan, StepFunctions(generate, discriminator), next(inputs()).generator_noise)
        average = adam.state[unused[0].weight]["exp_avg_sq"].clone()
        if generate is unused:
            first = average
    assert first.any() and torch.allclose(average, BETAS[1] * first)
