"""What a recipe adds to a step, beside the same written plainly: augmentation, consistency, top-k, parts."""

import copy

import pytest
import torch
import torch.nn.functional as F
from running import training_options
from test_recipe_losses import batch, gan_of, gradient_norms, networks

from option_groups.recipe import RecipeOptions
from models.autogan.networks import Discriminator
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from utils.randomness import global_seed
from utils.training.adversarial import StepFunctions, discriminator_step, generator_step
from utils.training.augment import MOVES, DiffAugment, move
from utils.training.gan import new_gan
from utils.training.inputs import Batch
from utils.training.loop import train_steps
from utils.training.losses import LOSSES
from utils.training.recipe import PLAIN, LatentConsistency, StepRecipe, recipe_schedule

AUGMENT = DiffAugment(("color", "translation"))
SOURCE = (1, "recipe", 7)
MIX = torch.full((5, 1, 1, 1), 0.25, dtype=torch.float64)


def d_step(recipe, loss="hinge"):
    """(loss, change of the discriminator's parameters, random numbers) of one step along the gradient."""
    generator, discriminator = networks()
    given = batch()
    before = [parameter.detach().clone() for parameter in discriminator.parameters()]
    random = [MIX] * (loss == "wgan-gp") + list(recipe.draw("discriminator", given.noise, given.real))
    functions = StepFunctions(generator, discriminator, LOSSES[loss], recipe=recipe)
    result = discriminator_step(gan_of(generator, discriminator), functions, given.real, given.noise, *random)
    moved = [old - parameter.detach() for old, parameter in zip(before, discriminator.parameters())]
    return result[0].item(), moved, random[-1]


def g_step(recipe, loss="hinge"):
    """The same of the generator."""
    generator, discriminator = networks()
    given = batch()
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    inputs = [given.generator_noise] + [given.real] * LOSSES[loss].reads_real
    inputs += recipe.draw("generator", *inputs)
    functions = StepFunctions(generator, discriminator, LOSSES[loss], recipe=recipe)
    result = generator_step(gan_of(generator, discriminator), functions, *inputs)
    moved = [old - parameter.detach() for old, parameter in zip(before, generator.parameters())]
    return result[0].item(), moved, inputs[-1]


def assert_moved_along(found, expected, parameters):
    """The step's loss is `expected`, and it moved along its gradient."""
    loss, moved, _ = found
    assert loss == pytest.approx(expected.item(), rel=1e-7)
    wanted = torch.autograd.grad(expected, parameters, allow_unused=True)
    for change, gradient in zip(moved, wanted):
        gradient = torch.zeros_like(change) if gradient is None else gradient
        torch.testing.assert_close(change, gradient, rtol=1e-5, atol=1e-9)


# Augmentation


@pytest.mark.parametrize("r1", [0.0, 0.3])
@pytest.mark.parametrize("name", ["hinge", "wgan-gp", "r3gan"])
def test_a_discriminators_step_augments_real_and_generated_images_by_numbers_of_their_own(name, r1):
    recipe = StepRecipe(augment=AUGMENT, r1=r1, source=SOURCE)
    found = d_step(recipe, name)
    columns = found[2].split(AUGMENT.columns, dim=1)
    assert not torch.equal(columns[0], columns[1])
    generator, discriminator = networks()
    given, left = batch(), iter(columns)
    fake = generator(given.noise).detach()

    def discriminate(images):
        return discriminator(AUGMENT(images, next(left)))

    expected = LOSSES[name].discriminator(discriminate, given.real, fake, *[MIX] * (name == "wgan-gp"))
    if r1:  # through the augmentation, to the image
        slopes = [gradient_norms(lambda x, i=i: discriminator(AUGMENT(x, columns[0][i : i + 1])), given.real[i : i + 1]) for i in range(5)]  # fmt: skip
        expected = expected + r1 * torch.cat(slopes).mean()
    assert_moved_along(found, expected, list(discriminator.parameters()))


@pytest.mark.parametrize("name", ["hinge", "r3gan"])
def test_a_generators_step_augments_what_it_shows_to_the_discriminator(name):
    recipe = StepRecipe(augment=AUGMENT, source=SOURCE)
    found = g_step(recipe, name)
    of_fake, of_real = found[2].split(AUGMENT.columns, dim=1)
    generator, discriminator = networks()
    given = batch()
    fake = discriminator(AUGMENT(generator(given.generator_noise), of_fake))
    images = [fake] + [discriminator(AUGMENT(given.real, of_real))] * (name == "r3gan")
    expected = LOSSES[name].generator(lambda logits: logits, *images)
    assert_moved_along(found, expected, list(generator.parameters()))


# Consistency


def test_bcr_wants_the_same_logits_of_real_and_generated_images_and_of_them_moved():
    found = d_step(StepRecipe(bcr=10.0, source=SOURCE))
    of_real, of_fake = found[2].split(MOVES, dim=1)
    generator, discriminator = networks()
    given = batch()
    fake = generator(given.noise).detach()
    expected = LOSSES["hinge"].discriminator(discriminator, given.real, fake)
    for images, numbers in ((given.real, of_real), (fake, of_fake)):
        expected = expected + 10 * F.mse_loss(discriminator(images), discriminator(move(images, numbers)))
    assert_moved_along(found, expected, list(discriminator.parameters()))


ZCR = StepRecipe(zcr=LatentConsistency(20.0, 0.5, 0.05), source=SOURCE)


def test_zcr_wants_the_same_logits_of_neighbouring_noise():
    found = d_step(ZCR)
    generator, discriminator = networks()
    given = batch()
    fake, near = (generator(noise).detach() for noise in (given.noise, given.noise + 0.05 * found[2]))
    expected = LOSSES["hinge"].discriminator(discriminator, given.real, fake)
    expected = expected + 20 * F.mse_loss(discriminator(fake), discriminator(near))
    assert_moved_along(found, expected, list(discriminator.parameters()))


def test_zcr_wants_other_images_of_neighbouring_noise():
    found = g_step(ZCR)
    generator, discriminator = networks()
    noise = batch().generator_noise
    fake, near = generator(noise), generator(noise + 0.05 * found[2])
    expected = -discriminator(fake).mean() - 0.5 * F.mse_loss(fake, near)
    assert_moved_along(found, expected, list(generator.parameters()))


def test_consistency_compares_images_that_are_not_augmented():
    recipe = StepRecipe(augment=AUGMENT, bcr=10.0, source=SOURCE)
    found = d_step(recipe)
    a = AUGMENT.columns
    of_real, of_fake, _, moved, fake_moved = found[2].split([a, a, a, MOVES, MOVES], dim=1)
    generator, discriminator = networks()
    given = batch()
    fake = generator(given.noise).detach()
    shown = AUGMENT(given.real, of_real), AUGMENT(fake, of_fake)
    expected = LOSSES["hinge"].discriminator(discriminator, *shown)
    for images, numbers in ((given.real, moved), (fake, fake_moved)):
        expected = expected + 10 * F.mse_loss(discriminator(images), discriminator(move(images, numbers)))
    assert_moved_along(found, expected, list(discriminator.parameters()))


# Top-k


@pytest.mark.parametrize("name", ["hinge", "non-saturating", "wgan-gp"])
def test_the_generator_learns_from_its_images_of_the_highest_logits(name):
    found = g_step(StepRecipe(best=2), name)
    generator, discriminator = networks()
    logits = discriminator(generator(batch().generator_noise))
    expected = LOSSES[name].generator(lambda best: best, logits.sort(dim=0, descending=True).values[:2])
    assert_moved_along(found, expected, list(generator.parameters()))


def test_the_share_of_images_falls_in_every_pass_down_to_its_end():
    options = RecipeOptions(generator_topk=0.5, generator_topk_decay=0.8)
    at = recipe_schedule(options, training_options(gen_batch_size=10), 1, steps_per_epoch=3)
    assert [at(step).best for step in range(0, 15, 3)] == [10, 8, 6, 5, 5] and at(2).best == 10
    later = recipe_schedule(options, training_options(gen_batch_size=10), 1, steps_per_epoch=3, first_epoch=1)
    assert later(0).best == 8


# Parts of a batch


def normed_pair():
    """A generator without batch norm, and a discriminator with spectral norm."""
    with global_seed(0):
        generator = torch.nn.Sequential(
            torch.nn.Linear(4, 3 * 64), torch.nn.Unflatten(1, (3, 8, 8)), torch.nn.Tanh()
        )
        discriminator = prepare(Discriminator(1, 4), with_spectral_norm=True)
        return generator, discriminator  # fmt: skip


EVERYTHING = {"augment": "color,translation,cutout", "bcr": 10.0, "zcr": 20.0, "r1_gamma": 1.0}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("loss", ["hinge", "wgan-gp", "non-saturating", "r3gan"])
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "with everything"])
def test_a_batch_in_parts_is_the_whole_batch_to_rounding(in_float64, fast, loss, options):
    """Also one of 6 images in 4 unequal parts, and one of 3 images, which fill only 3."""
    training = training_options(gen_batch_size=6, dis_batch_size=6, loss=loss, g_lr=0.01, d_lr=0.01)
    drawn = torch.Generator().manual_seed(1)
    steps = [
        Batch(s, *(torch.randn(shape, generator=drawn, dtype=torch.float64) for shape in ((n, 3, 8, 8), (n, 4), (6, 4))))
        for s, n in enumerate((6, 6, 3))
    ]  # fmt: skip
    results = []
    for parts in (1, 4):
        pair = normed_pair()
        generator, discriminator = map(fast_form, pair) if fast else pair
        recipe = RecipeOptions(**options, accumulate=parts)
        gan = new_gan(generator, discriminator, torch.device("cpu"), training, recipe=recipe, fast=fast)
        recipe_at = recipe_schedule(recipe, training, 1, steps_per_epoch=3)
        mix = torch.Generator().manual_seed(2)
        at = LOSSES[loss]._replace(draw=lambda real: (torch.rand(len(real), 1, 1, 1, generator=mix),))
        at = at if loss == "wgan-gp" else LOSSES[loss]

        def functions_at(step):
            return StepFunctions(gan.generator, gan.discriminator, at, None, recipe_at(step))

        losses = train_steps(gan, steps, functions_at, training)
        results.append((losses, copy.deepcopy([gan.generator.state_dict(), gan.discriminator.state_dict()])))
    (whole, whole_weights), (in_parts, weights) = results
    for mine, theirs in zip(in_parts, whole):
        assert mine == pytest.approx(theirs, rel=1e-9)
    for mine, theirs in zip(weights, whole_weights):
        for name, value in theirs.items():
            torch.testing.assert_close(mine[name], value, rtol=1e-6, atol=1e-9, msg=name)


# Random numbers


def test_the_plain_recipe_is_that_of_the_default_options_and_adds_nothing():
    default = recipe_schedule(RecipeOptions(), training_options(), 7, steps_per_epoch=10)(3)
    assert PLAIN.key == default.key
    assert PLAIN == StepRecipe(r1=0.0, r2=0.0, augment=None, bcr=0.0, zcr=None, best=None, parts=1, source=())


def test_random_numbers_depend_on_seed_purpose_step_and_network_alone():
    options = RecipeOptions(augment="cutout", zcr=1.0)

    def numbers(step, seed=1, purpose="a", network="discriminator"):
        at = recipe_schedule(options, training_options(), seed, purpose, steps_per_epoch=3)
        return at(step).draw(network, torch.zeros(5, 4), torch.zeros(5, 3, 8, 8))[0][:, :2]

    assert torch.equal(numbers(3), numbers(3))
    others = numbers(4), numbers(3, seed=2), numbers(3, purpose="b"), numbers(3, network="generator")
    assert not any(torch.equal(numbers(3), other) for other in others)


def test_steps_that_compute_alike_have_one_key():
    options = RecipeOptions(augment="cutout", r1_gamma=1.0, r1_interval=2)
    at = recipe_schedule(options, training_options(), 1, steps_per_epoch=3)
    keys = [hash(at(step).key) for step in range(4)]
    assert keys[0] == keys[2] != keys[1] == keys[3]
