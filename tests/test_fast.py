"""The fast way of computing gives the plain way's results."""

from functools import partial

import pytest
import torch
from running import default_dtype

from models.architecture import Architecture
from models.autogan import Discriminator, Generator
from models.fast_form import fast_form
from models.init import prepare
from models_search.search_space import random_architecture
from models_search.shared_gan import shared_generator
from utils.adversarial import Setting, generator_step, train_steps
from utils.gan import new_gan, update_average
from utils.precision import multiplying
from utils.randomness import global_seed


def losses_of(*, precision="float32", **run):
    """Losses of all steps of a `small_run`, and its Gan."""
    gan, steps, setting_at = small_run(**run)
    return train_steps(gan, steps, setting_at, precision=precision), gan


def small_run(*, fast, architectures, steps=100, derived=None, device="cpu", dtype=torch.float32):
    """A Gan, `steps` steps at 8 px on fixed inputs, and their settings: an architecture drawn per step (or a derived generator)."""
    with global_seed(0), default_dtype(dtype):
        generator = Generator.of(derived, latent_dim=8, gf_dim=8) if derived else shared_generator(1, latent_dim=8, gf_dim=8)
        discriminator = prepare(Discriminator(1, 8), with_spectral_norm=True)
        generator = prepare(generator)
        if fast:
            generator, discriminator = fast_form(generator), fast_form(discriminator)
        real, noise = torch.randn(steps, 8, 3, 8, 8), torch.randn(steps, 2, 8, 8)
    device = torch.device(device)
    gan = new_gan(generator, discriminator, device, g_lr=2e-4, d_lr=2e-4, betas=(0.0, 0.9), fast=fast, with_average=True)
    inputs = [(s, real[s].to(device), noise[s, 0].to(device), noise[s, 1].to(device) if s % 5 == 0 else None) for s in range(steps)]

    def setting_at(step):
        generate = gan.generator if derived else partial(gan.generator, architecture=architectures[step])
        return Setting(generate, gan.discriminator, key=architectures and architectures[step])

    return gan, inputs, setting_at


ON_ALL_DEVICES = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)


def a_hundred_architectures():
    drawn = torch.Generator().manual_seed(0)
    return [random_architecture(1, drawn) for _ in range(100)]


@ON_ALL_DEVICES
def test_fast_and_plain_losses_agree_over_a_hundred_steps(device):
    """In float64, so that the algorithm is compared and not its rounding: Adam without momentum moves by the sign of a gradient however
    small, so in float32 two kernels' rounding errors part within ten steps."""
    run = dict(architectures=a_hundred_architectures(), device=device, dtype=torch.float64)
    (plain_d, plain_g), _ = losses_of(fast=False, **run)
    (fast_d, fast_g), _ = losses_of(fast=True, **run)
    assert fast_d == pytest.approx(plain_d, abs=1e-5)
    assert sum(loss is not None for loss in fast_g) == 20
    assert [g for g in fast_g if g is not None] == pytest.approx([g for g in plain_g if g is not None], abs=1e-5)


def generator_loss(gan, setting, noise):
    """The loss of an update of the generator alone."""
    frozen = list(gan.discriminator.parameters())
    with multiplying("float32", noise.device):
        return generator_step(*setting[:2], gan.generator_optimizer, noise, frozen)[0].item()


@ON_ALL_DEVICES
def test_in_float32_each_update_of_a_hundred_steps_has_the_plain_ways_loss(device):
    """Each from where the plain way stands. Training magnifies rounding, and even one update does where a gradient jumps; a loss
    does not, so that a bound between the rounding of float32 and that of lower precisions holds on every processor."""
    architectures = a_hundred_architectures()
    plain, steps, plain_setting_at = small_run(fast=False, architectures=architectures, device=device)
    fast, _, fast_setting_at = small_run(fast=True, architectures=architectures, device=device)
    ways = (fast, fast_setting_at), (plain, plain_setting_at)
    for step, real, noise, generator_noise in steps:
        fast.load_state_dict(plain.snapshot())
        (mine,), (theirs,) = (train_steps(gan, [(step, real, noise, None)], setting_at)[0] for gan, setting_at in ways)
        assert mine == pytest.approx(theirs, abs=1e-4)
        if generator_noise is not None:
            fast.load_state_dict(plain.snapshot())
            mine, theirs = (generator_loss(gan, setting_at(step), generator_noise) for gan, setting_at in ways)
            assert mine == pytest.approx(theirs, abs=1e-4)


def test_bfloat16_is_close_but_not_the_same():
    derived = Architecture.parse("1 1 1 1")
    (exact, _), _ = losses_of(fast=True, architectures=None, derived=derived, steps=5)
    (rough, _), _ = losses_of(fast=True, architectures=None, derived=derived, steps=5, precision="bfloat16")
    assert rough == pytest.approx(exact, rel=0.02) and rough != exact


def test_what_an_architecture_does_not_use_does_not_move():
    """It has zero gradients: with beta1 = 0 it keeps its values, exactly, while Adam's averages decay, as in the authors' search."""
    other, only = Architecture.parse("0 0 1 1"), Architecture.parse("1 0 1 0")
    gan, steps, setting_at = small_run(fast=True, architectures=[other] * 5 + [only] * 10, steps=15)
    train_steps(gan, steps[:5], setting_at)  # one step of the generator
    unused = [
        p for name, p in gan.generator.named_parameters() if p in gan.generator_optimizer.state and (".post." in name or "short" in name)
    ]
    averages = [gan.generator_optimizer.state[p]["exp_avg_sq"] for p in unused]
    values, before = [p.clone() for p in unused], [average.clone() for average in averages]
    assert len(unused) > 5 and all(average.any() for average in averages)
    train_steps(gan, steps[5:], setting_at)  # two
    for parameter, value, average, earlier in zip(unused, values, averages, before):
        assert torch.equal(parameter, value) and not parameter.grad.any()
        torch.testing.assert_close(average, 0.9**2 * earlier)


def test_what_no_architecture_has_used_has_no_state():
    only = Architecture.parse("1 0 1 0")
    (_, _), gan = losses_of(fast=True, architectures=[only] * 10, steps=10)
    unused = [p for name, p in gan.generator.named_parameters() if ".post." in name or "shortcut" in name]
    assert unused and all(p.grad is None and p not in gan.generator_optimizer.state for p in unused)


def test_the_average_follows_parameters_and_batch_norm_statistics():
    generator = Generator.of(Architecture.parse("1 1 1 1"), latent_dim=4, gf_dim=2)
    average = Generator.of(Architecture.parse("1 1 1 1"), latent_dim=4, gf_dim=2)
    generator(torch.randn(8, 4))
    expected = {
        name: value if name.endswith("num_batches_tracked") else 0.9 * average.state_dict()[name] + 0.1 * value
        for name, value in generator.state_dict().items()
    }
    update_average(average, generator, decay=0.9)
    for name, value in average.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6), name
