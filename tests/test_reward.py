"""The reward of an architecture: which noise it is scored on, by which protocol, and what is made of a score."""

from types import SimpleNamespace

import pytest
import torch
from running import TinyNet
from test_search_parts import search_at_level

from models.autogan.architecture import Architecture
from models_search.autogan.controller import first_beam
from models_search.autogan.search import best_architectures, score_policy, train_controller
from models_search.shared_gan.reward import Reward, Scored
from utils.images import to_uint8
from utils.metrics.evaluate import evaluate
from utils.metrics.real_statistics import RealStatistics
from utils.randomness import random_generator

ONE, OTHER = Architecture.parse("1 0 1 1"), Architecture.parse("0 2 2 0")


class Noise(torch.nn.Module):
    """A generator whose images are its noise."""

    latent_dim = 3 * 4 * 4

    def __init__(self):
        super().__init__()
        self.weight, self.calls = torch.nn.Parameter(torch.ones(())), []

    def forward(self, noise, architecture):
        self.calls.append((len(noise), architecture, self.training))
        return noise.clamp(-1, 1).unflatten(1, (3, 4, 4)) * self.weight


class SeeingNet(TinyNet):
    """Keeps the images it has seen."""

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen.append(images.clone())
        return super().__call__(images)


def reward_with(net, metric="is", seed=5, real=None, log=None):
    """A Reward of six images in two parts, in batches of four."""
    return Reward(
        search=SimpleNamespace(reward=metric, rl_num_eval_img=6),
        scoring=SimpleNamespace(is_splits=2, eval_batch_size=4),
        seed=seed, feature_net=net, images=SimpleNamespace(statistics_at=lambda level: real[level]),
        log=log, stop_if_asked=lambda: None,
    )  # fmt: skip


def images_of(architecture, *purpose, seed=5, **options):
    net = SeeingNet()
    reward_with(net, seed=seed)(Noise(), architecture, *purpose, **options)
    return torch.cat(net.seen)


def test_the_noise_of_a_reward_depends_on_seed_step_and_architecture_and_on_nothing_else():
    first = images_of(ONE, "reward", 2, 7)
    drawn = torch.randn(6, 48, generator=random_generator(5, "reward", 2, 7, "1 0 1 1")).clamp(-1, 1)
    assert torch.equal(first, to_uint8(drawn.unflatten(1, (3, 4, 4))))
    torch.randn(3)
    assert torch.equal(images_of(ONE, "reward", 2, 7), first)
    others = [
        images_of(ONE, "reward", 2, 8), images_of(ONE, "reward", 3, 7), images_of(OTHER, "reward", 2, 7),
        images_of(ONE, "candidate", 2, 7), images_of(ONE, "reward", 2, 7, seed=6),
    ]  # fmt: skip
    assert not any(torch.equal(other, first) for other in others)


def test_a_reward_is_measured_by_the_options_protocol_in_eval_mode():
    net, generator = SeeingNet(), Noise()
    scored = reward_with(net)(generator.train(), ONE, "reward", 0, 0)
    assert generator.calls == [(4, ONE, False), (2, ONE, False)] and generator.training
    images = torch.cat(net.seen)
    scores = evaluate(lambda count: images[:count], 6, TinyNet(), splits=2, metrics=("is",), batch_size=6)
    assert scored == Scored(ONE, pytest.approx(scores.is_mean), "reward", 6, scored.score, None)
    reward_with(net)(generator.eval(), ONE, "reward", 0, 0)
    assert not generator.training


def real_statistics_at(level):
    """Other statistics for each level."""
    features = torch.rand(40, 12, generator=torch.Generator().manual_seed(level)).double()
    return RealStatistics(mu=features.mean(0).numpy(), sigma=features.T.cov().numpy(), num_images=40)


def test_a_fid_reward_is_one_over_the_fid_to_the_images_of_the_architectures_level():
    real = [real_statistics_at(level) for level in range(2)]
    for level, architecture in enumerate((ONE, Architecture.parse("1 0 1 1 | 0 0 0 0 0"))):
        scored = reward_with(SeeingNet(), "fid", real=real)(Noise(), architecture, "candidate", 0)
        images = images_of(architecture, "candidate", 0)
        scores = evaluate(lambda count: images, 6, TinyNet(), real=real[level], metrics=("fid",))
        assert scored.fid == pytest.approx(scores.fid, rel=1e-9)
        assert scored.score == 1 / scored.fid and scored.is_mean is None
    both = reward_with(TinyNet(), "is", real=real)(
        Noise(), ONE, "score", 0, metrics=("is", "fid"), images=8, splits=1
    )
    assert (both.score, both.images, both.purpose) == (both.is_mean, 8, "score") and both.fid > 0


@pytest.mark.parametrize("metric, lowest", [("is", 1.0), ("fid", 0.0)])
def test_images_that_are_not_finite_get_the_lowest_reward_and_a_line(metric, lowest):
    lines, generator = [], Noise()
    torch.nn.init.constant_(generator.weight, float("nan"))
    reward = reward_with(TinyNet(), metric, real=[real_statistics_at(0)], log=lines.append)
    assert reward(generator, ONE, "reward", 0, 0) == Scored(ONE, lowest, "reward", 6, None, None)
    assert lines == ["1 0 1 1 makes images that are not finite: it gets the lowest reward"]


@pytest.mark.parametrize("metric, net, name", [("is", "tiny", "tiny IS"), ("fid", "inception", "1/FID")])
def test_a_reward_is_labelled_with_the_networks_name_unless_that_is_inception(metric, net, name):
    assert reward_with(SimpleNamespace(name=net), metric).name == name


# What a search asks the reward for


def asked_by(command, ask):
    """The (architecture, purpose) that `ask(state, plan, reward, run)` scores, and the state."""
    state, plan = search_at_level(0, first_beam(8), command)
    state.controller_steps, state.rewards = 0, {}
    state.shared = SimpleNamespace(gan=SimpleNamespace(generator=None), rollbacks=0)
    policy = state.policy
    policy.optimizer, policy.baseline = torch.optim.SGD(policy.controller.parameters(), 0.1), None
    asked, figures = [], []

    class Asked:
        name = "IS"

        def __call__(self, generator, architecture, *purpose, **options):
            asked.append((architecture, purpose, options))
            return Scored(architecture, float(len(asked)), purpose[0], images=1)

    run = SimpleNamespace(
        record=lambda *line: figures.append(line), keep_score=lambda entry: None, log=lambda line: None,
        seconds=lambda: 0.0, is_past=lambda deadline: False,
    )  # fmt: skip
    found = ask(state, plan, Asked(), run)
    return asked, figures, found


def test_every_update_of_the_controller_scores_on_noise_of_its_own():
    save_point = SimpleNamespace(reached=lambda: None)
    asked, figures, rewards = asked_by(
        "--ctrl_step 4 --ctrl_sample_batch 2",
        lambda state, plan, reward, run: train_controller(state, plan, reward, run, save_point),
    )
    assert [purpose for _, purpose, _ in asked] == [("reward", 3, step) for step in range(4) for _ in "ab"]
    assert len({architecture for architecture, *_ in asked}) > 4
    assert rewards == [1.5, 3.5, 5.5, 7.5]
    lines = [(step, prefix, iteration) for step, _, prefix, iteration in figures]
    assert lines == [(3 * 4 + step, "controller", 4) for step in range(4)]
    assert [found["reward"] for _, found, *_ in figures] == rewards
    assert {found["level"] for _, found, *_ in figures} == {0}


def test_candidates_are_scored_once_each_and_the_best_are_kept_with_their_own_state():
    asked, _, (beam, scored) = asked_by("--num_candidate 6 --topk 2", best_architectures)
    assert {(purpose, *options) for _, purpose, options in asked} == {(("candidate", 3),)}
    architectures = [architecture for architecture, *_ in asked]
    assert len(set(architectures)) == 6 and [each.architecture for each in scored] == architectures
    assert [(each.architecture, each.score) for each in beam] == [
        (architectures[5], 6.0),
        (architectures[4], 5.0),
    ]
    assert not torch.equal(beam[0].lstm_state[0], beam[1].lstm_state[0])


@pytest.mark.parametrize("score_freq, count", [(0, 0), (1, 5), (2, 5), (3, 0)])
def test_periodic_scores_are_asked_for_after_every_so_many_iterations(score_freq, count):
    asked, *_ = asked_by(
        f"--score_freq {score_freq}" + (" --score_imgs 77" if score_freq else ""),
        lambda state, plan, reward, run: score_policy(state, plan, reward),
    )  # after iteration 3, the fourth
    expected = ("score", 3), {"metrics": ("is", "fid"), "images": 77}
    assert [(purpose, options) for _, purpose, options in asked] == [expected] * count
