"""The later losses and penalties: value and gradients equal their formulas, written anew for numpy in float64."""

import math

import numpy as np
import pytest
import torch
from running import training_options
from torch import nn

from option_groups.recipe import RecipeOptions
from option_groups.training import TrainingOptions
from utils.randomness import global_seed
from utils.training.adversarial import StepFunctions, discriminator_step, generator_step
from utils.training.gan import Gan, new_gan
from utils.training.inputs import Batch
from utils.training.loop import train_steps
from utils.training.losses import LOSSES
from utils.training.recipe import Judge, StepRecipe, gradient_penalty, recipe_schedule

SIZES = {"equal": (5, 5), "unequal": (3, 6)}  # real images, generated ones in the generator's step


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def kernel(a, b, change=lambda distance: distance):
    return math.exp(-change(sum((x - y) ** 2 for x, y in zip(a, b))) / 2)


def over_pairs(rows, change=lambda distance: distance):
    """The mean kernel of two different rows."""
    return mean(kernel(a, b, change) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j)


# {loss: (the discriminator's, the generator's)}, of lists of logits, for mmd of rows of 16
FORMULAS = {
    "non-saturating": (
        lambda r, f: mean(map(softplus, [-x for x in r])) + mean(map(softplus, f)),
        lambda r, f: mean(softplus(-x) for x in f),
    ),
    "relativistic-hinge": (
        lambda r, f: (mean(max(0, 1 - (x - mean(f))) for x in r) + mean(max(0, 1 + x - mean(r)) for x in f)) / 2,
        lambda r, f: (mean(max(0, 1 + (x - mean(f))) for x in r) + mean(max(0, 1 - (x - mean(r))) for x in f)) / 2,
    ),
    "r3gan": (
        lambda r, f: mean(softplus(-(x - y)) for x, y in zip(r, f)),
        lambda r, f: mean(softplus(-(y - x)) for x, y in zip(r, f)),
    ),
    "mmd": (
        lambda r, f: over_pairs(r, lambda d: min(d, 4)) - over_pairs(f, lambda d: max(d, 0.25)),
        lambda r, f: over_pairs(r) + over_pairs(f) - 2 * mean(kernel(x, y) for x in r for y in f),
    ),
}  # fmt: skip


def logits(name, count, seed):
    """Logits (count, outputs); those of mmd are about as far apart as its bounds."""
    outputs = LOSSES[name].outputs
    drawn = torch.randn(count, outputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn * (0.35 if outputs > 1 else 1.5)


def as_lists(values):
    return values.flatten().tolist() if values.shape[1] == 1 else values.tolist()


def numeric_gradient(formula, values, step=1e-6):
    """Central differences with respect to every entry."""
    gradient = torch.zeros_like(values)
    for index in np.ndindex(*values.shape):
        for sign in (1, -1):
            moved = values.clone()
            moved[index] += sign * step
            gradient[index] += sign * formula(as_lists(moved)) / (2 * step)
    return gradient


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_gradients_are_those_of_the_formula(name, sizes):
    """The discriminator is the identity, so its logits are the images."""
    loss, (of_discriminator, of_generator) = LOSSES[name], FORMULAS[name]
    real_count, fake_count = SIZES["equal" if loss.in_pairs else sizes]
    real, fake = logits(name, real_count, 0).requires_grad_(), logits(name, fake_count, 1).requires_grad_()
    lists = as_lists(real.detach()), as_lists(fake.detach())
    images = (fake, real) if loss.reads_real else (fake,)
    for value, formula, with_real in (
        (loss.discriminator(lambda x: x, real, fake), of_discriminator, True),
        (loss.generator(lambda x: x, *images), of_generator, loss.reads_real),
    ):
        assert value.item() == pytest.approx(formula(*lists), rel=1e-12)
        of_real, of_fake = torch.autograd.grad(value, (real, fake), allow_unused=True)
        expected = numeric_gradient(lambda fakes: formula(lists[0], fakes), fake.detach())
        torch.testing.assert_close(of_fake, expected, rtol=1e-7, atol=1e-8)
        if with_real:
            expected = numeric_gradient(lambda reals: formula(reals, lists[1]), real.detach())
            torch.testing.assert_close(of_real, expected, rtol=1e-7, atol=1e-8)


def test_mmds_discriminator_takes_no_distance_beyond_its_bounds():
    close = torch.zeros(2, 16, dtype=torch.float64)
    far = 9.0 * torch.eye(2, 16, dtype=torch.float64)
    value = LOSSES["mmd"].discriminator(lambda x: x, far, close)
    assert value.item() == pytest.approx(math.exp(-4 / 2) - math.exp(-0.25 / 2))


def test_mmd_of_a_single_image_is_a_number():
    single = torch.zeros(1, 16, dtype=torch.float64)
    assert LOSSES["mmd"].discriminator(lambda x: x, single, single).item() == 0


def test_the_names_of_the_losses_are_the_options_choices():
    (field,) = (field for field in TrainingOptions.__dataclass_fields__.values() if field.name == "loss")
    assert tuple(LOSSES) == field.metadata["choices"]


# Penalties


def quadratic(images):
    """Logits x'Ax / 2 + b'x, so the gradient is Ax + b; the matrices are symmetric. Two outputs."""
    a, b = quadratic.a, quadratic.b
    flat = images.flatten(1)
    return torch.stack([(flat @ a[k] * flat).sum(1) / 2 + flat @ b[k] for k in range(2)], 1)


with torch.random.fork_rng():
    torch.manual_seed(0)
    quadratic.a = torch.randn(2, 12, 12, dtype=torch.float64)
    quadratic.a = quadratic.a + quadratic.a.mT
    quadratic.b = torch.randn(2, 12, dtype=torch.float64)


def test_the_penalty_is_the_mean_squared_norm_of_the_gradient_summed_over_the_outputs(in_float64):
    images = torch.randn(4, 3, 2, 2).requires_grad_()
    flat = images.detach().flatten(1)
    expected = sum(((flat @ quadratic.a[k] + quadratic.b[k]) ** 2).sum(1).mean() for k in range(2))
    penalty = gradient_penalty(Judge(quadratic), images)
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-12)
    by_hand = sum(2 * (flat @ quadratic.a[k] + quadratic.b[k]) @ quadratic.a[k] for k in range(2)) / 4
    (gradient,) = torch.autograd.grad(penalty, images)
    torch.testing.assert_close(gradient.flatten(1), by_hand)


def networks():
    """A generator of 2 x 2 images and a smooth discriminator of one output."""
    with global_seed(0):
        generator = nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2)), nn.Tanh())
        return generator.double(), nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 1)).double()  # fmt: skip


def batch(count=5, more=5):
    drawn = torch.Generator().manual_seed(1)
    shapes = (count, 3, 2, 2), (count, 4), (more, 4)
    return Batch(0, *(torch.randn(shape, generator=drawn, dtype=torch.float64) for shape in shapes))


def gan_of(generator, discriminator):
    """A Gan whose optimisers move by the gradient itself."""
    return Gan(generator, discriminator, *(torch.optim.SGD(n.parameters(), lr=1.0) for n in (generator, discriminator)))  # fmt: skip


def gradient_norms(discriminator, images):
    """|grad D(x)|^2 of each image, one at a time."""
    norms = []
    for image in images:
        image = image[None].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(image).sum(), image, create_graph=True)
        norms.append(gradient.square().sum())
    return torch.stack(norms)


@pytest.mark.parametrize("r1, r2", [(0.0, 0.0), (0.3, 0.0), (0.3, 0.2)])
@pytest.mark.parametrize("name", ["hinge", "wgan-gp", "non-saturating", "relativistic-hinge", "r3gan"])
def test_a_discriminators_step_adds_the_penalties_to_any_loss(name, r1, r2):
    """Beside the loss of the plain formula and its gradient: the step moves by exactly that."""
    generator, discriminator = networks()
    given, loss = batch(), LOSSES[name]
    mix = (torch.full((5, 1, 1, 1), 0.25, dtype=torch.float64),) if name == "wgan-gp" else ()
    fake = generator(given.noise).detach()
    expected = loss.discriminator(discriminator, given.real, fake, *mix)
    expected = expected + r1 * gradient_norms(discriminator, given.real).mean()
    expected = expected + r2 * gradient_norms(discriminator, fake).mean()
    wanted = torch.autograd.grad(expected, list(discriminator.parameters()), allow_unused=True)
    before = [parameter.detach().clone() for parameter in discriminator.parameters()]
    functions = StepFunctions(generator, discriminator, loss, recipe=StepRecipe(r1=r1, r2=r2))
    result = discriminator_step(gan_of(generator, discriminator), functions, given.real, given.noise, *mix)
    assert result[0].item() == pytest.approx(expected.item(), rel=1e-12)
    for old, parameter, gradient in zip(before, discriminator.parameters(), wanted):
        torch.testing.assert_close(old - parameter, torch.zeros_like(old) if gradient is None else gradient)


@pytest.mark.parametrize("name", ["relativistic-hinge", "r3gan"])
def test_a_generators_step_sees_the_real_images_where_its_loss_needs_them(name):
    generator, discriminator = networks()
    given = batch()
    expected = LOSSES[name].generator(discriminator, generator(given.generator_noise), given.real)
    wanted = torch.autograd.grad(expected, list(generator.parameters()))
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    functions = StepFunctions(generator, discriminator, LOSSES[name])
    result = generator_step(gan_of(generator, discriminator), functions, given.generator_noise, given.real)
    assert result[0].item() == pytest.approx(expected.item())
    for old, parameter, gradient in zip(before, generator.parameters(), wanted):
        torch.testing.assert_close(old - parameter, gradient)


def test_an_epochs_last_and_smaller_batch_still_comes_in_pairs():
    options = training_options(gen_batch_size=5, dis_batch_size=5)
    gan = new_gan(*networks(), torch.device("cpu"), options)
    functions = StepFunctions(gan.generator, gan.discriminator, LOSSES["r3gan"])
    d_losses, g_losses = train_steps(gan, [batch(3, more=5)], lambda step: functions, options)
    assert math.isfinite(d_losses[0]) and math.isfinite(g_losses[0])


@pytest.mark.parametrize(
    "loss, options, weights",
    [
        ("hinge", {}, [(0, 0)] * 4),
        ("hinge", {"r1_gamma": 0.5}, [(0.25, 0)] * 4),
        ("hinge", {"r1_gamma": 0.5, "r1_interval": 3}, [(0.75, 0), (0, 0), (0, 0), (0.75, 0)]),
        ("r3gan", {}, [(0.025, 0.025)] * 4),
        ("r3gan", {"r1_gamma": 0.0}, [(0, 0)] * 4),
    ],
)
def test_a_penalty_at_an_interval_counts_as_often_as_it_is_left_out(loss, options, weights):
    at = recipe_schedule(RecipeOptions(**options), training_options(loss=loss), 1, steps_per_epoch=9)
    for step, expected in enumerate(weights):
        assert (at(step).r1, at(step).r2) == pytest.approx(expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_in_every_precision_of_a_cpu_with_a_penalty(name, precision):
    from models.autogan.networks import Discriminator
    from models.layers.fast_form import fast_form
    from models.layers.init import prepare

    with global_seed(0):
        generator = nn.Sequential(nn.Linear(4, 3 * 64), nn.Unflatten(1, (3, 8, 8)), nn.Tanh())
        discriminator = Discriminator(1, 4, outputs=LOSSES[name].outputs)
        discriminator = fast_form(prepare(discriminator, with_spectral_norm=True))
    options = training_options(precision=precision, loss=name, n_critic=1)
    gan = new_gan(generator, discriminator, torch.device("cpu"), options)
    drawn = torch.Generator().manual_seed(1)
    steps = [Batch(s, *(torch.randn(shape, generator=drawn) for shape in ((4, 3, 8, 8), (4, 4), (4, 4)))) for s in range(2)]  # fmt: skip
    functions = StepFunctions(generator, discriminator, LOSSES[name], recipe=StepRecipe(r1=0.1, r2=0.1))
    d_losses, g_losses = train_steps(gan, steps, lambda step: functions, options)
    assert all(map(math.isfinite, d_losses + g_losses))
