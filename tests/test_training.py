"""Training as the scripts do it: how long, at which rates, from which weights after a dynamic reset, and that
it learns.
"""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from running import assert_equal_states

import cfg
from models_search.autogan.plan import make_plan
from models_search.autogan.search import search as search_autogan
from models_search.autogan.search import train_shared
from models_search.autogan.state import SearchState
from models_search.retraining.plan import training_plan
from models_search.retraining.training import new_state, train_generator
from models_search.shared_gan.network import new_shared_gan
from models_search.shared_gan.reward import Scored
from utils.data.load import load_images
from utils.inception.feature_net import load_feature_net
from utils.metrics.real_statistics import real_statistics
from utils.metrics.generator import score_generator
from utils.training.inputs import StepInputs

CPU = torch.device("cpu")
NETWORKS = "--dataset digits --img_size 8 --latent_dim 8 --df_dim 4 --gf_dim 4 -gen_bs 4 -dis_bs 150 --n_critic 2"  # 12 steps an epoch
SEARCH = f"{NETWORKS} --grow_steps --max_search_iter 1 --shared_epoch 1 --ctrl_step 1 --num_candidate 2 --topk 1 --hid_size 8"


@pytest.fixture(scope="module")
def digits():
    return load_images("digits").resized(8)


def run_that_records(figures):
    """A run that keeps nothing but the recorded figures, in a list."""
    return SimpleNamespace(
        record=lambda step, found, prefix, iteration: figures.append(found),
        log=lambda text: None,
        grid=lambda *images: None,
        keep_score=lambda entry: None,
        seconds=lambda: 0.0,
        is_past=lambda deadline: False,
    )


class NoSavePoint:
    """A save point where nothing happens."""

    def reached(self, due=False):
        pass

    stop_if_asked = reached

    def seconds_left(self):
        return math.inf


class PretendImages:
    """The same images at every level."""

    def __init__(self, images):
        self.images = images

    def at(self, level):
        return self.images


class PretendReward:
    """Every architecture gets 1."""

    name = "IS"

    def __call__(self, generator, architecture, *purpose):
        return Scored(architecture, 1.0, purpose[0], images=1)


class PretendScorer:
    """Calls score(state) in the place of scoring."""

    def __init__(self, score):
        self.call = score

    def score(self, state, stop_if_asked):
        self.call(state)
        state.scored_step = state.step


def updates(gan):
    """How often the discriminator and the generator have been updated."""
    return [
        max(int(state["step"]) for state in adam.state.values())
        for adam in (gan.discriminator_optimizer, gan.generator_optimizer)
    ]


# Dynamic reset: the generator's window of three losses is full after step 4, its third; then any losses are
# below the threshold 1e6.


def new_search(command):
    plan = make_plan(cfg.parse("search", f"{SEARCH} --dynamic_reset_window 3 {command}".split()))
    return SearchState.start(plan, CPU), plan


@pytest.mark.parametrize("print_freq", [1, 2, 5, 100])
def test_a_collapsed_gan_is_the_one_at_the_step_of_the_rule_however_seldom_the_losses_are_looked_at(
    digits, print_freq
):
    state, plan = new_search(f"--dynamic_reset_threshold 1e6 --print_freq {print_freq}")
    train_shared(state, plan, digits, run_that_records([]), NoSavePoint())
    assert state.shared.collapsed and updates(state.shared.gan) == [5, 3]

    class Stop(NoSavePoint):
        def reached(self, due=False):
            raise KeyboardInterrupt

    stopped, plan = new_search("--dynamic_reset_threshold 0 --print_freq 5")
    with pytest.raises(KeyboardInterrupt):
        train_shared(stopped, plan, digits, run_that_records([]), Stop())
    assert not stopped.shared.collapsed
    assert_equal_states(state.shared.gan.state_dict(), stopped.shared.gan.state_dict())


@pytest.mark.parametrize("threshold, resets", [(1e6, 1), (0, 0)])
def test_after_a_dynamic_reset_both_networks_have_other_weights_and_both_optimisers_are_new(
    digits, threshold, resets
):
    state, plan = new_search(f"--dynamic_reset_threshold {threshold}")
    trained, first = state.shared.gan, new_shared_gan(plan, CPU)
    search_autogan(state, plan, PretendImages(digits), PretendReward(), run_that_records([]), NoSavePoint())
    gan = state.shared.gan
    assert state.shared.resets == resets
    if not resets:
        assert gan is trained and updates(trained) == [12, 6]
        return
    for earlier in (trained, first):
        for network in ("generator", "discriminator"):
            pairs = zip(getattr(gan, network).parameters(), getattr(earlier, network).parameters())
            assert not any(torch.equal(mine, theirs) for mine, theirs in pairs if mine.dim() > 1)
    adams = gan.generator_optimizer, gan.discriminator_optimizer
    assert not any(adam.state for adam in adams)
    for adam, network in zip(adams, (gan.generator, gan.discriminator)):
        trained_ids = [id(parameter) for parameter in adam.param_groups[0]["params"]]
        assert trained_ids == [id(parameter) for parameter in network.parameters()]


# Length and learning rate


def train(command, images, score=lambda state: None, first=0):
    """A training by a train_derived command, from step `first` on: its Gan and the figures it recorded."""
    figures = []
    length = "" if "--max_epoch" in command else "--max_iter 3"
    options = cfg.parse("train_derived", f"{NETWORKS} --arch 1 0 1 1 {length} {command}".split())
    plan = training_plan(options, cfg.generator_architecture(options))
    state = new_state(plan, CPU)
    state.step = first
    inputs = StepInputs(images, options.run.random_seed, options.training, options.network.latent_dim)
    total = plan.total_steps(images.num_images)
    run, scorer = run_that_records(figures), PretendScorer(score)
    train_generator(state, plan, inputs, total, scorer, run, NoSavePoint())
    return state.gan, figures


@pytest.mark.parametrize(
    "command, expected",
    [
        ("--max_iter 5", [10, 5]),
        ("--max_iter 4 --n_critic 3", [12, 4]),
        ("--max_epoch 1", [24, 12]),
        ("--max_epoch 2 -dis_bs 999", [8, 4]),
    ],
)
def test_training_takes_max_iter_generator_steps_or_n_critic_times_max_epoch_passes(
    digits, command, expected
):
    assert updates(train(command, digits)[0]) == expected


def test_learning_rates_fall_linearly_from_generator_step_to_generator_step(digits):
    """As in the authors' code: set after a generator step, by that step's number."""
    gan, figures = train(
        "--max_iter 4 --n_critic 2 --print_freq 1 --lr_decay --g_lr 0.004 --d_lr 0.008", digits
    )
    assert [found["g_lr"] for found in figures] == pytest.approx(
        [0.004 * (1 - step / 8) for step in (0, 0, 2, 2, 4, 4, 6, 6)]
    )
    assert gan.discriminator_optimizer.param_groups[0]["lr"] == pytest.approx(0.008 * (1 - 6 / 8))


def test_a_schedule_sets_the_rates_before_the_first_step_and_after_every_iteration(digits):
    _, figures = train("--max_iter 4 --print_freq 1 --lr_schedule cosine --lr_warmup 2 --g_lr 0.004", digits)
    rates = [(1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0.0]  # of the iteration after steps 0, 2, 4, 6
    assert [found["g_lr"] for found in figures] == pytest.approx([0.004 * rates[s // 2] for s in range(8)])
    first, _ = train("--max_iter 1 --print_freq 1 --lr_warmup 1000000", digits)
    still, _ = train("--max_iter 1 --print_freq 1 --g_lr 1e-12 --d_lr 1e-12", digits)
    assert torch.allclose(first.generator.linear.weight, still.generator.linear.weight, atol=1e-6)


def test_a_rate_that_is_a_tensor_falls_in_place_because_a_recorded_step_reads_it(digits):
    gan, _ = train("--g_lr 0.004 --d_lr 0.008", digits)
    rates = []
    for adam in gan.optimizers().values():
        adam.param_groups[0]["lr"] = torch.tensor(adam.param_groups[0]["lr"], dtype=torch.float64)
        rates.append(adam.param_groups[0]["lr"])
    gan.scale_learning_rates(0.25)
    assert [rate.item() for rate in rates] == pytest.approx([0.001, 0.002])
    assert [adam.param_groups[0]["lr"] for adam in gan.optimizers().values()] == rates


def test_without_decay_learning_rates_stay(digits):
    _, figures = train("--max_iter 3 --print_freq 1 --g_lr 0.004", digits)
    assert [found["g_lr"] for found in figures] == pytest.approx([0.004] * 6)


# Options of both scripts' trainings


def search(command, images):
    """The same of a search command: the shared GAN after an iteration's training, and the figures it
    recorded.
    """
    figures = []
    state, plan = new_search(command)
    train_shared(state, plan, images, run_that_records(figures), NoSavePoint())
    return state.shared.gan, figures


@pytest.mark.parametrize("script", [search, train])
def test_max_grad_norm_reaches_training(digits, script):
    """Adam divides by the gradients' size, but for gradients far below its epsilon."""

    def moved(max_grad_norm):
        first, trained = (
            script(f"--max_grad_norm {max_grad_norm} {rates}", digits)[0]
            for rates in ("--g_lr 1e-12 --d_lr 1e-12", "")
        )
        return [
            sum(
                (a - b).norm().item()
                for a, b in zip(getattr(trained, name).parameters(), getattr(first, name).parameters())
            )
            for name in ("generator", "discriminator")
        ]

    for clipped, free in zip(moved(1e-10), moved(0)):
        assert clipped < 0.1 * free


@pytest.mark.parametrize("script", [search, train])
def test_the_loss_that_is_asked_for_is_trained_on(digits, script):
    hinge, wgan_gp = (
        script(f"--loss {loss} --print_freq 1", digits)[1][0]["d_loss"] for loss in ("hinge", "wgan-gp")
    )
    assert wgan_gp != pytest.approx(hinge, rel=0.1)


@pytest.mark.parametrize("script", [search, train])
def test_optimisers_have_the_rates_asked_for(digits, script):
    gan, _ = script("--g_lr 0.001 --d_lr 0.002 --beta1 0.3 --beta2 0.7", digits)
    for adam, lr in ((gan.generator_optimizer, 0.001), (gan.discriminator_optimizer, 0.002)):
        assert (adam.param_groups[0]["lr"], adam.param_groups[0]["betas"]) == (lr, (0.3, 0.7))


def test_the_average_forgets_as_fast_as_asked(digits):
    def averages(ema_decay, max_iter=2):
        gan, _ = train(f"--ema_decay {ema_decay} --max_iter {max_iter}", digits)
        return dict(gan.average.named_parameters()), dict(gan.generator.named_parameters())

    assert_equal_states(*averages(ema_decay=0))
    assert_equal_states(averages(ema_decay=1, max_iter=1)[0], averages(ema_decay=1)[0])


@pytest.mark.parametrize(
    "options, is_copy", [("--ema_start 2", [True, True]), ("--ema_start 1", [True, False]),
                         ("--ema_halflife 4 --ema_rampup 0", [False, False])],
)  # fmt: skip
def test_half_life_and_start_reach_the_average(digits, options, is_copy):
    for max_iter, copies in zip((1, 2), is_copy):
        gan, _ = train(f"{options} --max_iter {max_iter}", digits)
        pairs = zip(gan.average.parameters(), gan.generator.parameters())
        assert all(torch.allclose(mine, theirs) for mine, theirs in pairs) == copies


# Learning


def test_a_short_training_brings_fid_far_below_the_untrained_generators(digits):
    """By EfficientNet-Lite0 on 60 images: from 1415, 1357 and 1329 to 659, 667 and 663, for the seeds 12345,
    1 and 2.
    """
    few = dataclasses.replace(load_images("digits"), num_images=60).resized(8)
    net = load_feature_net("efficientnet-lite0", device=CPU)
    real, fids = real_statistics(few, net), []

    def score(state):
        scores, _ = score_generator(
            state.gan.average, [net], [real], num_images=60, seed=0, splits=1, metrics=("fid",)
        )
        fids.append(scores.fid)

    train(
        "--gf_dim 8 --df_dim 16 --latent_dim 16 -gen_bs 64 -dis_bs 32 --g_lr 0.004 --d_lr 0.004 --ema_decay 0.9 --max_iter 150 "
        "--score_start --val_freq 1000 --sample_freq 1000", digits, score,
    )  # fmt: skip
    assert fids[-1] < 0.65 * fids[0]
