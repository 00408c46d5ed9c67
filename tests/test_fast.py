"""The fast way of computing gives the plain way's results."""

from functools import partial

import pytest
import torch
from running import default_dtype, training_options

from models.autogan.architecture import Architecture
from models.autogan.networks import Discriminator, Generator
from models.layers.fast_form import fast_form
from models.layers.init import prepare
from models_search.search_space import random_architecture
from models_search.shared_gan.network import shared_generator
from utils.precision import multiplying
from utils.randomness import global_seed
from utils.training.adversarial import StepFunctions, generator_step
from utils.training.gan import new_gan, update_average
from utils.training.inputs import Batch
from utils.training.loop import train_steps


def losses_of(*, precision="float32", **run):
    """Losses of all steps of a `small_run`, and its Gan."""
    gan, batches, functions_at = small_run(**run)
    return train_steps(gan, batches, functions_at, training_options(precision=precision)), gan


def small_run(
    *, fast, architectures, steps=100, derived=None, device="cpu", dtype=torch.float32, space="authors"
):  # fmt: skip
    """A Gan, `steps` batches at 8 px, and the StepFunctions of each step."""
    with global_seed(0), default_dtype(dtype):
        if derived:
            generator = Generator.of(derived, latent_dim=8, gf_dim=8)
        else:
            generator = shared_generator(1, space, latent_dim=8, gf_dim=8)
        discriminator = prepare(Discriminator(1, 8), with_spectral_norm=True)
        generator = prepare(generator)
        if fast:
            generator, discriminator = fast_form(generator), fast_form(discriminator)
        real, noise = torch.randn(steps, 8, 3, 8, 8), torch.randn(steps, 2, 8, 8)
    device = torch.device(device)
    gan = new_gan(generator, discriminator, device, training_options(), fast=fast, with_average=True)
    real, noise = real.to(device), noise.to(device)
    batches = [
        Batch(step, real[step], noise[step, 0], noise[step, 1] if step % 5 == 0 else None)
        for step in range(steps)
    ]

    def functions_at(step):
        generate = gan.generator if derived else partial(gan.generator, architecture=architectures[step])
        return StepFunctions(generate, gan.discriminator, key=architectures and architectures[step])

    return gan, batches, functions_at


ON_ALL_DEVICES = pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))],
)


def a_hundred_architectures():
    drawn = torch.Generator().manual_seed(0)
    return [random_architecture(1, drawn) for _ in range(100)]


@ON_ALL_DEVICES
def test_fast_and_plain_losses_agree_over_a_hundred_steps(device):
    """In float64, which compares the algorithm and not its rounding.

    Adam without momentum moves by the sign of a gradient, however small that is. In float32, the rounding
    errors of two kernels would lead apart within ten steps.
    """
    run = dict(architectures=a_hundred_architectures(), device=device, dtype=torch.float64)
    (plain_d, plain_g), _ = losses_of(fast=False, **run)
    (fast_d, fast_g), _ = losses_of(fast=True, **run)
    assert fast_d == pytest.approx(plain_d, abs=1e-5)
    assert sum(loss is not None for loss in fast_g) == 20
    assert [g for g in fast_g if g is not None] == pytest.approx(
        [g for g in plain_g if g is not None], abs=1e-5
    )


def generator_loss(gan, functions, noise):
    """The loss of an update of the generator alone."""
    with multiplying("float32", noise.device):
        return generator_step(gan, functions, noise)[0].item()


@ON_ALL_DEVICES
def test_in_float32_each_update_of_a_hundred_steps_has_the_plain_ways_loss(device):
    """Each update starts from the plain state.

    Training magnifies rounding, and even one update does where a gradient jumps. A loss does not, so a bound
    between the rounding of float32 and that of lower precisions holds on every processor.
    """
    architectures = a_hundred_architectures()
    plain, batches, plain_functions_at = small_run(fast=False, architectures=architectures, device=device)
    fast, _, fast_functions_at = small_run(fast=True, architectures=architectures, device=device)
    ways = (fast, fast_functions_at), (plain, plain_functions_at)
    for batch in batches:
        fast.load_state_dict(plain.snapshot())
        without = [batch._replace(generator_noise=None)]
        (mine,), (theirs,) = (
            train_steps(gan, without, functions_at, training_options())[0] for gan, functions_at in ways
        )
        assert mine == pytest.approx(theirs, abs=1e-4)
        if batch.generator_noise is not None:
            fast.load_state_dict(plain.snapshot())
            mine, theirs = (
                generator_loss(gan, functions_at(batch.step), batch.generator_noise)
                for gan, functions_at in ways
            )
            assert mine == pytest.approx(theirs, abs=1e-4)


def test_bfloat16_is_close_but_not_the_same():
    derived = Architecture.parse("1 1 1 1")
    (exact, _), _ = losses_of(fast=True, architectures=None, derived=derived, steps=5)
    (rough, _), _ = losses_of(fast=True, architectures=None, derived=derived, steps=5, precision="bfloat16")
    assert rough == pytest.approx(exact, rel=0.02) and rough != exact


def test_what_an_architecture_does_not_use_does_not_move():
    """As in the authors' search: its gradients are zero, so with beta1 = 0 only Adam's averages decay."""
    other, only = Architecture.parse("0 0 1 1"), Architecture.parse("1 0 1 0")
    gan, batches, functions_at = small_run(fast=True, architectures=[other] * 5 + [only] * 10, steps=15)
    train_steps(gan, batches[:5], functions_at, training_options())  # one step of the generator
    unused = [
        p
        for name, p in gan.generator.named_parameters()
        if p in gan.generator_optimizer.state and (".post." in name or "short" in name)
    ]
    averages = [gan.generator_optimizer.state[p]["exp_avg_sq"] for p in unused]
    values, before = [p.clone() for p in unused], [average.clone() for average in averages]
    assert len(unused) > 5 and all(average.any() for average in averages)
    train_steps(gan, batches[5:], functions_at, training_options())  # two
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
        name: value
        if name.endswith("num_batches_tracked")
        else 0.9 * average.state_dict()[name] + 0.1 * value
        for name, value in generator.state_dict().items()
    }
    update_average(average, generator, decay=0.9)
    for name, value in average.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6), name
