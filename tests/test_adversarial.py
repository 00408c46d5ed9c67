"""The adversarial step and the loop over it, beside the same written plainly with torch.optim.Adam, in float64."""

import copy

import pytest
import torch
from torch import nn

from utils.training.adversarial import Setting, discriminator_step, generator_step, train_steps
from utils.training.gan import new_gan
from utils.randomness import global_seed

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
    """Of every step (number, real images, noise, generator noise or None)."""
    drawn = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        real, noise, generator_noise = (
            torch.randn(shape, generator=drawn, dtype=torch.float64)
            for shape in ((5, 3, 2, 2), (5, 4), (7, 4))
        )
        yield step, real, noise, generator_noise if step % N_CRITIC == 0 else None


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

    for step, real, noise, generator_noise in inputs():
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
    gan = new_gan(
        *networks(), torch.device("cpu"), g_lr=G_LR, d_lr=D_LR, betas=BETAS, with_average=True, fast=fast
    )
    d_losses, g_losses = train_steps(
        gan, inputs(), lambda step: Setting(gan.generator, gan.discriminator), max_grad_norm=max_grad_norm, ema_decay=0.9,
        lr_factor=lambda step: 1 - step / STEPS,
    )  # fmt: skip
    assert [loss is not None for loss in g_losses] == [step % N_CRITIC == 0 for step in range(STEPS)]
    for found, wanted in zip((d_losses, g_losses[::N_CRITIC]), (expected[0], expected[1][::N_CRITIC])):
        assert found == pytest.approx(wanted, rel=1e-4)
    for mine, theirs in zip((gan.generator, gan.discriminator, gan.average), (*plain, average)):
        for name, value in theirs.state_dict().items():
            assert torch.allclose(mine.state_dict()[name], value, rtol=1e-4, atol=1e-5), name


def d_step(generator, discriminator, **how):
    _, real, noise, _ = next(inputs())
    return discriminator_step(
        generator, discriminator, torch.optim.SGD(discriminator.parameters(), lr=1.0), real, noise, **how
    )


def g_step(generator, discriminator, **how):
    *_, noise = next(inputs())
    optimizer = torch.optim.SGD(generator.parameters(), lr=1.0)
    return generator_step(generator, discriminator, optimizer, noise, list(discriminator.parameters()), **how)


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
    def moved(**how):
        pair = networks()
        before = [parameter.detach().clone() for parameter in pair[trained].parameters()]
        step(*pair, **how)
        return torch.cat([(old - new).flatten() for old, new in zip(before, pair[trained].parameters())])

    free, clipped = moved(), moved(max_grad_norm=max_grad_norm)
    assert 0.01 < free.norm() < 1e3
    assert torch.allclose(clipped, free * min(1.0, max_grad_norm / free.norm().item()), rtol=1e-3)


def test_the_discriminator_learns_again_after_a_generator_step_that_failed():
    generator, discriminator = networks()
    frozen = list(discriminator.parameters())
    with pytest.raises(RuntimeError, match="shapes"):
        generator_step(
            generator,
            discriminator,
            torch.optim.SGD(generator.parameters(), lr=1.0),
            torch.zeros(7, 5).double(),
            frozen,
        )
    assert all(parameter.requires_grad for parameter in frozen)


def test_fake_images_of_another_size_than_the_real_ones_are_refused():
    generator, discriminator = networks()
    with pytest.raises(ValueError, match="differ in shape"):
        discriminator_step(
            lambda noise: generator(noise)[:, :, :1], discriminator, None, *next(inputs())[1:3]
        )


def test_what_a_step_does_not_use_has_a_gradient_of_zero_in_adams_averages():
    """As in the authors' search, where another architecture is drawn for every step."""
    (used, unused), (_, discriminator) = (networks()[0] for _ in range(2)), networks()
    adam = torch.optim.Adam([*used.parameters(), *unused.parameters()], G_LR, BETAS)
    for generate in (unused, used):
        *_, noise = next(inputs())
        generator_step(generate, discriminator, adam, noise, list(discriminator.parameters()))
        average = adam.state[unused[0].weight]["exp_avg_sq"].clone()
        if generate is unused:
            first = average
    assert first.any() and torch.allclose(average, BETAS[1] * first)
