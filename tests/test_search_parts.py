"""Controller, beam and dynamic reset, without a GAN."""

from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cfg
import models_search.autogan.search
from models.autogan.architecture import Architecture
from models_search.autogan.controller import (
    BeamEntry,
    Controller,
    UniformController,
    first_beam,
    reinforce,
    sample_architectures,
)
from models_search.autogan.plan import make_plan
from models_search.autogan.search import sample_distinct
from models_search.candidates import top_k
from models_search.shared_gan.dynamic_reset import CollapseDetector
from models_search.search_space import random_architecture


def toy_reward(architecture):
    """A fixed function of the architecture with interactions between cells, so that greedy choices per token
    are not enough.
    """
    tokens = architecture.tokens
    matches = sum(
        token == wanted for token, wanted in zip(tokens, Architecture.parse("autogan_cifar10_b").tokens)
    )
    return (
        matches / 14 + 0.5 * (tokens[1] == tokens[2] % 2) - 0.3 * (len(tokens) > 4 and tokens[0] != tokens[4])
    )


def toy_search(seed, updates=120, candidates=10, k=5):
    """The search of three levels with the toy reward; returns (final beam, mean reward of the last policy,
    architectures scored).
    """
    torch.manual_seed(seed)
    drawn, beam, scored = torch.Generator().manual_seed(seed), first_beam(32), 0
    for level in range(3):
        controller, baseline = Controller(level, 32), None
        optimizer = torch.optim.Adam(controller.parameters(), 5e-3, betas=(0.0, 0.9))
        for _ in range(updates):
            architectures, rollout = sample_architectures(controller, beam, 4, drawn)
            rewards = torch.tensor([toy_reward(architecture) for architecture in architectures])
            baseline, _ = reinforce(optimizer, rollout, rewards, baseline)
            scored += 4
        architectures, rollout = sample_architectures(controller, beam, candidates, drawn)
        states = zip(*(part.detach() for part in rollout.state))
        beam = top_k([BeamEntry(a, toy_reward(a), state) for a, state in zip(architectures, states)], k)
        scored += candidates
    architectures, _ = sample_architectures(controller, beam, 200, drawn)
    return beam, np.mean([toy_reward(architecture) for architecture in architectures]), scored


def test_the_search_beats_random_sampling_on_a_toy_reward():
    wins, learned_means, far_above = 0, [], []
    for seed in range(10):
        beam, mean, scored = toy_search(seed)
        drawn = torch.Generator().manual_seed(1000 + seed)
        random_rewards = [toy_reward(random_architecture(3, drawn)) for _ in range(scored)]
        wins += beam[0].score > max(random_rewards)
        learned_means.append(mean)
        far_above.append(np.quantile(random_rewards, 0.99))
    assert wins >= 8
    assert np.mean(learned_means) > np.mean(far_above), (
        "an average sample of the policy is as good as the best hundredth of random ones"
    )


def test_architectures_drawn_together_are_those_drawn_one_by_one():
    controller, beam = Controller(0, 16), first_beam(16)
    together, rollout = sample_architectures(controller, beam, 50, torch.Generator().manual_seed(3))
    one_by_one, generator = [], torch.Generator().manual_seed(3)
    for _ in range(50):
        one_by_one += sample_architectures(controller, beam, 1, generator)[0]
    assert together == one_by_one
    assert rollout.log_probs.shape == rollout.entropies.shape == (50, 4)


def test_tokens_are_drawn_with_the_controllers_probabilities():
    torch.manual_seed(0)
    controller = Controller(0, 16)
    with torch.no_grad():
        controller.decoders[0].bias.copy_(torch.tensor([0.0, 2.0]))
        rollout = controller((torch.zeros(20000, 16), torch.zeros(20000, 16)), torch.rand(20000, 4))
    p = rollout.log_probs[:, 0].exp()[rollout.actions[:, 0] == 1][0].item()
    assert (rollout.actions[:, 0] == 1).double().mean().item() == pytest.approx(p, abs=0.01)


def test_a_levels_controller_starts_from_a_beam_entry_and_extends_its_architecture():
    parents = [Architecture.parse("1 0 1 1"), Architecture.parse("0 2 2 0")]
    beam = [
        BeamEntry(parent, 1.0, (torch.full((8,), float(index)), torch.zeros(8)))
        for index, parent in enumerate(parents)
    ]
    architectures, rollout = sample_architectures(
        Controller(1, 8), beam, 400, torch.Generator().manual_seed(0)
    )
    shares = [sum(a.cells[0] == parent.cells[0] for a in architectures) / 400 for parent in parents]
    assert sum(shares) == 1 and shares[0] == pytest.approx(0.5, abs=0.1)
    assert all(architecture.levels == 2 for architecture in architectures)
    assert rollout.state[0].shape == (400, 8)


def replayed(controller, beam, architectures):
    """(log probabilities, state) by the equations of the LSTM, for one architecture after the other."""
    offsets = np.cumsum([0, *controller.heads])
    log_probs, states = [], []
    for architecture in architectures:
        cells = controller.first_cell
        (parent,) = [each for each in beam if each.architecture.cells == architecture.cells[:cells]]
        tokens = architecture.tokens[len(parent.architecture.tokens) :]
        token_input, (hidden, cell), row = torch.zeros(controller.hidden_size), parent.lstm_state, []
        for head, token in enumerate(tokens):
            lstm, decoder = controller.lstm, controller.decoders[head]
            gates = lstm.weight_ih @ token_input + lstm.bias_ih + lstm.weight_hh @ hidden + lstm.bias_hh
            enter, forget, new, leave = gates.chunk(4)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            row.append((decoder.weight @ hidden + decoder.bias).log_softmax(0)[token])
            token_input = controller.encoder.weight[offsets[head] + token]
        log_probs.append(torch.stack(row))
        states.append((hidden, cell))
    return torch.stack(log_probs), [torch.stack(part) for part in zip(*states)]


def random_beam(texts, hidden_size):
    """A beam of these architectures, each with an LSTM state of its own."""
    states = torch.randn(len(texts), 2, hidden_size)
    return [BeamEntry(Architecture.parse(text), 1.0, tuple(state)) for text, state in zip(texts, states)]


@pytest.mark.parametrize("first_cell", [1, 0])
def test_a_sample_follows_from_its_own_parents_lstm_state_and_each_token_from_those_before(
    in_float64, first_cell
):
    controller = Controller(1, 8, first_cell)
    if first_cell:
        beam = random_beam(["1 0 1 1", "0 2 2 0", "1 1 0 0"], 8)
    else:
        beam = first_beam(8)
    architectures, rollout = sample_architectures(controller, beam, 12, torch.Generator().manual_seed(0))
    log_probs, state = replayed(controller, beam, architectures)
    assert torch.allclose(rollout.log_probs, log_probs, rtol=0, atol=1e-12)
    for mine, expected in zip(rollout.state, state):
        assert torch.allclose(mine, expected, rtol=0, atol=1e-12)
    assert len({each.cells[:first_cell] for each in architectures}) == len(beam)


def search_at_level(level, beam, command=""):
    """(what sample_distinct reads of a state, a plan) of a search with controllers of 8 units."""
    plan = make_plan(cfg.parse("search", f"--hid_size 8 {command}".split()))
    policy = SimpleNamespace(controller=Controller(level, 8))
    return SimpleNamespace(policy=policy, beam=beam, iteration=3), plan


def test_candidates_are_drawn_until_there_are_enough_and_each_keeps_its_own_lstm_state(in_float64):
    state, plan = search_at_level(1, random_beam(["1 0 1 1", "0 2 2 0"], 8))
    found = sample_distinct(state, plan, 100)  # of 144, so a hundred draws are never enough
    assert len(found) == 100
    _, (hidden, cell) = replayed(state.policy.controller, state.beam, found)
    for mine, expected in zip(zip(*found.values()), (hidden, cell)):
        assert torch.allclose(torch.stack(mine), expected, rtol=0, atol=1e-12)
    assert list(sample_distinct(state, plan, 100)) == list(found)
    state.iteration = 4
    assert list(sample_distinct(state, plan, 100)) != list(found)


def test_candidates_are_fewer_where_twenty_times_as_many_samples_hold_no_more(monkeypatch):
    state, plan = search_at_level(0, first_beam(8))
    for decoder in state.policy.controller.decoders:
        torch.nn.init.constant_(decoder.bias, -1e9)
        torch.nn.init.zeros_(decoder.bias[1:2])
    draws = []

    def counted(controller, beam, count, generator):
        draws.append(count)
        return sample_architectures(controller, beam, count, generator)

    monkeypatch.setattr(models_search.autogan.search, "sample_architectures", counted)
    assert list(map(str, sample_distinct(state, plan, 3))) == ["1 1 1 1"]
    assert draws == [3] * 20
    draws.clear()
    assert len(sample_distinct(state, plan, 1)) == 1 and draws == [1]


def test_the_surrogate_of_reinforce_has_the_gradient_of_reward_and_entropy():
    """The surrogate's gradient, averaged over all cells with their probabilities, is that of the expected
    reward plus entropy.
    """
    torch.manual_seed(0)
    controller = Controller(0, 6).double()
    actions = torch.cartesian_prod(*[torch.arange(size) for size in controller.heads])
    state = (torch.zeros(36, 6).double(), torch.zeros(36, 6).double())
    rewards, weight = torch.rand(36).double(), 0.3

    rollout = controller(state, actions=actions)
    p = rollout.log_probs.sum(1).exp()
    assert p.sum().item() == pytest.approx(1)
    expected = (p * rewards).sum() - weight * (p * p.log()).sum()
    exact = torch.autograd.grad(expected, controller.parameters(), allow_unused=True)

    rollout = controller(state, actions=actions)
    total = rewards + weight * rollout.entropies.sum(1).detach() - 0.7  # any baseline
    surrogate = (p.detach() * (total * rollout.log_probs.sum(1) + weight * rollout.entropies.sum(1))).sum()
    found = torch.autograd.grad(surrogate, controller.parameters(), allow_unused=True)
    for a, b in zip(exact, found):
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-10)


def test_reinforce_descends_the_surrogate_and_moves_the_baseline(in_float64):
    controller, weight = Controller(0, 6), 0.3
    state, uniforms, rewards = (torch.zeros(5, 6), torch.zeros(5, 6)), torch.rand(5, 4), torch.rand(5)
    rollout = controller(state, uniforms)
    entropy = rollout.entropies.sum(1)
    total = (rewards + weight * entropy).detach()
    expected_baseline = 0.9 * 0.7 + 0.1 * total.mean().item()
    loss = -((total - expected_baseline) * rollout.log_probs.sum(1) + weight * entropy).mean()
    gradients = torch.autograd.grad(loss, controller.parameters(), allow_unused=True)
    before = [parameter.detach().clone() for parameter in controller.parameters()]

    optimizer = torch.optim.SGD(controller.parameters(), lr=1.0)
    baseline, figures = reinforce(
        optimizer, controller(state, uniforms), rewards, 0.7, weight, baseline_decay=0.9
    )
    assert baseline == pytest.approx(expected_baseline)
    assert figures["reward"] == pytest.approx(rewards.mean().item())
    for old, new, gradient in zip(before, controller.parameters(), gradients):
        assert torch.allclose(old - new, torch.zeros_like(old) if gradient is None else gradient, atol=1e-6)


def test_reinforce_refuses_rewards_that_do_not_match_the_rollout():
    controller = Controller(0, 6)
    rollout = controller((torch.zeros(3, 6), torch.zeros(3, 6)), torch.rand(3, 4))
    with pytest.raises(ValueError, match=r"\(3, 1\) do not match"):
        reinforce(torch.optim.SGD(controller.parameters(), 0.1), rollout, torch.zeros(3, 1), None)


def test_random_search_draws_every_token_uniformly():
    controller = UniformController(0)
    architectures, rollout = sample_architectures(
        controller, first_beam(), 7200, torch.Generator().manual_seed(0)
    )
    counts = np.unique([str(a) for a in architectures], return_counts=True)[1]
    assert len(counts) == 36 and counts.min() > 140 and counts.max() < 265
    assert rollout.log_probs[0].tolist() == pytest.approx([-np.log(size) for size in controller.heads])


def test_top_k_is_distinct_and_ordered():
    scores = [("a", 1.0), ("b", 3.0), ("a", 5.0), ("c", 3.0), ("b", 2.0)]
    best = top_k([BeamEntry(*score, None) for score in scores], 3)
    assert [(c.architecture, c.score) for c in best] == [("a", 5.0), ("b", 3.0), ("c", 3.0)]


def test_collapse_is_noticed_at_the_step_the_rule_names_however_the_losses_arrive():
    rng = np.random.default_rng(0)
    noticed = 0
    for _ in range(200):
        window = int(rng.integers(2, 12))
        detector, d_window, g_window = (
            CollapseDetector(window, 0.3),
            deque(maxlen=window),
            deque(maxlen=window),
        )
        for _ in range(8):
            d_losses = rng.normal(size=int(rng.integers(1, 20))).tolist()
            g_losses = [
                float(value) if rng.random() < 0.3 else None for value in rng.normal(size=len(d_losses))
            ]
            expected = None
            for index, (d_loss, g_loss) in enumerate(zip(d_losses, g_losses)):
                d_window.append(d_loss)
                if g_loss is not None:
                    g_window.append(g_loss)
                if len(g_window) == window and min(np.var(g_window), np.var(d_window)) < 0.3:
                    expected = index
                    d_window.clear()
                    g_window.clear()
                    break
            assert detector.first_collapse(d_losses, g_losses) == expected
            noticed += expected is not None
    assert noticed > 100


def test_the_detectors_windows_survive_a_checkpoint():
    first, second = CollapseDetector(4, 0.1), CollapseDetector(4, 0.1)
    first.first_collapse([1.0, 5.0, 2.0], [3.0, None, 7.0])
    second.load_state_dict(first.state_dict())
    rest = ([2.0, 2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0, 1.0])
    assert first.first_collapse(*rest) == second.first_collapse(*rest) == 2
