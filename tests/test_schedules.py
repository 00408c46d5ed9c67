"""The decay of the average generator, the learning rates and top-k's share, beside their formulas."""

import copy
import math

import pytest
import torch
from running import training_options

from option_groups.recipe import AverageOptions, RateOptions
from utils.training.gan import update_average
from utils.training.schedules import average_decay, rate_factors

AVERAGE = AverageOptions


def decays(training=None, ema_decay=0.99, **average):
    """The decay at the first generator steps, with 5 discriminator steps for each."""
    training = training or training_options(gen_batch_size=10, n_critic=5)
    decay = average_decay(ema_decay, AVERAGE(**average), training)
    return [decay(step) for step in range(0, 200, 5)]


def test_without_half_life_and_start_the_decay_is_the_number_itself():
    assert average_decay(0.99, AVERAGE(), training_options()) == 0.99


def test_after_as_many_images_as_the_half_life_half_of_a_weight_is_left():
    decay = decays(ema_halflife=70, ema_rampup=0.0)
    assert decay == pytest.approx([0.5 ** (10 / 70)] * 40)
    assert torch.tensor(decay[:7]).prod().item() == pytest.approx(0.5)


def test_the_ramp_keeps_the_half_life_below_a_share_of_the_images_before():
    expected = [0.0] + [0.5 ** (10 / min(70, 0.25 * 10 * update)) for update in range(1, 40)]
    assert decays(ema_halflife=70, ema_rampup=0.25) == pytest.approx(expected)


@pytest.mark.parametrize(
    "options, later", [({}, 0.99), ({"ema_halflife": 70, "ema_rampup": 0.0}, 0.5 ** (1 / 7))]
)
def test_before_its_start_the_average_is_a_copy(options, later):
    assert decays(ema_start=3, **options) == pytest.approx([0.0] * 3 + [later] * 37)


@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_decay_from_the_device_averages_as_the_number_does(decay, dtype):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).to(dtype)
    average = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).to(dtype)
    network[1].running_mean.fill_(4.0)
    network[1].num_batches_tracked.fill_(7)
    by_number, by_tensor = copy.deepcopy(average), copy.deepcopy(average)
    update_average(by_number, network, decay)
    update_average(by_tensor, network, torch.full((), decay, dtype=torch.float64))
    for name, value in by_number.state_dict().items():
        torch.testing.assert_close(by_tensor.state_dict()[name], value)
    expected = decay * average[0].weight + (1 - decay) * network[0].weight
    torch.testing.assert_close(by_tensor[0].weight, expected)
    assert by_tensor[1].num_batches_tracked == 7


# Learning rates


def factors(iterations=10, n_critic=3, lr_decay=False, **rates):
    """The factor in each generator iteration of a training."""
    first, after = rate_factors(lr_decay, RateOptions(**rates), iterations * n_critic, n_critic)
    return [first, *(after(n_critic * iteration) for iteration in range(iterations - 1))]


RATES = {
    "linear from the start": ({"lr_schedule": "linear"}, lambda i: 1 - i / 10),
    "linear from a step": ({"lr_schedule": "linear", "lr_decay_start": 6}, lambda i: min(1, 1 - (i - 6) / 4)),
    "cosine": ({"lr_schedule": "cosine"}, lambda i: math.cos(math.pi * i / 20) ** 2),
    "cosine from a step": (
        {"lr_schedule": "cosine", "lr_decay_start": 2},
        lambda i: 1 if i < 2 else math.cos(math.pi * (i - 2) / 16) ** 2,
    ),
    "warm-up": ({"lr_warmup": 4}, lambda i: min(1, (i + 1) / 4)),
    "warm-up, then linear": (
        {"lr_warmup": 4, "lr_schedule": "linear", "lr_decay_start": 5},
        lambda i: min(1, (i + 1) / 4, 1 - (i - 5) / 5),
    ),
}


@pytest.mark.parametrize("rates, formula", RATES.values(), ids=RATES)
def test_learning_rates_follow_their_formula_in_every_iteration(rates, formula):
    assert factors(**rates) == pytest.approx([formula(iteration) for iteration in range(10)])


def test_the_authors_decay_stays_theirs_and_can_be_warmed_up():
    first, after = rate_factors(True, RateOptions(), 30, 3)
    assert (first, after(0), after(27)) == (1.0, 1.0, pytest.approx(0.1))
    assert factors(lr_decay=True, lr_warmup=2)[:4] == pytest.approx([0.5, 1.0, 0.9, 0.8])


def test_constant_rates_are_never_set():
    assert rate_factors(False, RateOptions(), 30, 3) == (1.0, None)
