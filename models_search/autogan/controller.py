"""The LSTM controller of one level and its REINFORCE update (sections 3.3.2 and 3.3.3).

A level of the multi-level search adds one cell, the level of the single-level search all of them.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from models.autogan.architecture import Architecture, CellSpec, head_sizes
from models_search.autogan.next_tokens import NextTokens
from models_search.search_space import space_name


class BeamEntry(NamedTuple):
    """An architecture that a level has kept, its reward, and the LSTM state after its last token.

    lstm_state: (hidden, cell), each (hidden_size,).
    """

    architecture: Architecture
    score: float
    lstm_state: tuple


class Rollout(NamedTuple):
    """N rows of cells sampled from a controller with T heads."""

    actions: torch.Tensor  # (N, T) int64 tokens
    log_probs: torch.Tensor  # (N, T) of the sampled tokens
    entropies: torch.Tensor  # (N, T) of the distributions they were sampled from
    state: tuple  # hidden and cell state (N, hidden_size) after the last token


def heads_of(first_cell, level, space=None):
    """How many values each token of the cells `first_cell` to `level` can take: cell by cell, in the order of
    an architecture's flat vector. space: the RestrictedSpace they are of, or None.
    """
    sizes = (head_sizes(cell, space_name(space)) for cell in range(first_cell, level + 1))
    return tuple(size for cell in sizes for size in cell)


class Controller(nn.Module):
    """Policy over the cells `first_cell` to `level`: an LSTM that samples them token by token.

    By default it samples the last of these cells alone. space: a RestrictedSpace, which it never leaves; by
    default all cells.

    Each token is sampled from a softmax over the LSTM's output and becomes its next input. The controller is
    tiny and lives on the CPU, so sampling architectures never waits for a GPU.
    """

    def __init__(self, level, hidden_size=100, first_cell=None, space=None):
        super().__init__()
        self.level, self.first_cell, self.space = level, level if first_cell is None else first_cell, space
        self.hidden_size, self.heads = hidden_size, heads_of(self.first_cell, level, space)
        self.lstm = nn.LSTMCell(hidden_size, hidden_size)
        self.encoder = nn.Embedding(sum(self.heads), hidden_size)
        self.decoders = nn.ModuleList(nn.Linear(hidden_size, size) for size in self.heads)

    def pick(self, beam, uniforms):
        """An entry of the beam for each random number in [0, 1), all entries equally likely."""
        return [beam[int(u * len(beam))] for u in uniforms.tolist()]

    def forward(self, state, uniforms=None, actions=None, following=None):
        """Sample N cells, starting from the LSTM state `state` (hidden, cell), each (N, hidden_size).

        The random numbers `uniforms` (N, T) in [0, 1) become tokens by inverse transform sampling, so what
        one row samples does not depend on the other rows. With `actions` (N, T) these tokens are taken
        instead. following: the NextTokens of a restricted space, in which the softmax is over the tokens
        that do not leave it. Returns a Rollout.
        """
        token_input = torch.zeros_like(state[0])
        first_token_of_head, steps = 0, []
        for head, size in enumerate(self.heads):
            state = self.lstm(token_input, state)
            scores, last = self.decoders[head](state[0]), size - 1
            if following is not None:
                outside = following.counts() == 0
                scores = scores.masked_fill(outside, -math.inf)
                last = size - 1 - (~outside).flip(1).int().argmax(1)  # rounding must not lead beyond it
            log_p = F.log_softmax(scores, dim=1)
            p, finite = log_p.exp(), log_p
            if following is not None:
                finite = log_p.masked_fill(outside, 0)  # p log p is 0 there, not NaN
            if actions is None:
                token = (p.detach().cumsum(1) <= uniforms[:, head : head + 1]).sum(1).clamp(max=last)
            else:
                token = actions[:, head]
            if following is not None:
                following.take(token)
            steps.append((token, log_p.gather(1, token[:, None])[:, 0], -(p * finite).sum(1)))
            token_input = self.encoder(token + first_token_of_head)
            first_token_of_head += size
        drawn, log_probs, entropies = (torch.stack(column, dim=1) for column in zip(*steps))
        return Rollout(drawn, log_probs, entropies, state)


class UniformController(nn.Module):
    """Random search: every architecture is equally likely, and nothing is learned."""

    def __init__(self, level, hidden_size=100, first_cell=None, space=None):
        super().__init__()
        self.level, self.first_cell, self.space = level, level if first_cell is None else first_cell, space
        self.heads = heads_of(self.first_cell, level, space)

    def pick(self, beam, uniforms):
        """An entry of the beam for each random number in [0, 1): in a restricted space the more likely, the
        more cells may follow it.
        """
        if self.space is None:
            return Controller.pick(self, beam, uniforms)
        following = NextTokens(self.space, [entry.architecture for entry in beam])
        return [beam[index] for index in _tokens(following.counts().sum(1), uniforms).tolist()]

    def forward(self, state, uniforms, following=None):
        """As `Controller.forward`, but without `actions`; `state` is returned as it is."""
        if following is not None:
            return self._restricted(state, uniforms, following)
        sizes = torch.tensor(self.heads)
        log_probs = -sizes.float().log().expand_as(uniforms)
        return Rollout((uniforms * sizes).long(), log_probs, -log_probs, state)

    def _restricted(self, state, uniforms, following):
        """Each token with the share of the cells that it leaves, so that these are equally likely."""
        steps = []
        for head in range(len(self.heads)):
            counts = following.counts()
            token = _tokens(counts, uniforms[:, head])
            following.take(token)
            p = counts / counts.sum(1, keepdim=True)
            entropy = torch.special.entr(p).sum(1)
            steps.append((token, p.gather(1, token[:, None])[:, 0].log(), entropy))
        return Rollout(*(torch.stack(column, dim=1) for column in zip(*steps)), state)


def _tokens(counts, uniforms):
    """Indices (N,) with probabilities proportional to the counts (N, size) or (size,), from random numbers in
    [0, 1).
    """
    ends = counts.cumsum(-1)
    return (ends <= uniforms[:, None].double() * ends[..., -1:]).sum(1)


def first_beam(hidden_size=100):
    """The beam before the first level: one architecture without cells, and an LSTM state of zeros."""
    return [BeamEntry(Architecture(()), 0.0, (torch.zeros(hidden_size), torch.zeros(hidden_size)))]


def sample_architectures(controller, beam, count, generator):
    """Sample `count` architectures: each extends a random entry of the beam by the controller's cells.

    The controller starts from that entry's LSTM state. Returns (architectures, Rollout). `generator`: a
    torch.Generator on the CPU.
    """
    uniforms = torch.rand(count, 1 + len(controller.heads), generator=generator)
    parents, restricted = controller.pick(beam, uniforms[:, 0]), {}
    state = tuple(torch.stack(part) for part in zip(*(parent.lstm_state for parent in parents)))
    if controller.space is not None:
        architectures = [parent.architecture for parent in parents]
        restricted = {"following": NextTokens(controller.space, architectures)}
    rollout = controller(state, uniforms[:, 1:], **restricted)
    name = space_name(controller.space)
    rows = [_cells(tokens, controller.first_cell, name) for tokens in rollout.actions.tolist()]
    return [Architecture((*parent.architecture.cells, *row)) for parent, row in zip(parents, rows)], rollout


def _cells(tokens, first_cell, space):
    """The cells of a row of tokens, of which the first is cell `first_cell`. space: its name."""
    cells, position = [], 0
    while position < len(tokens):
        level = first_cell + len(cells)
        end = position + len(head_sizes(level, space))
        cells.append(CellSpec.from_tokens(tokens[position:end], level, space))
        position = end
    return cells


def reinforce(optimizer, rollout, rewards, baseline, entropy_coeff=1e-4, baseline_decay=0.9):
    """One policy-gradient step on a rollout of N architectures. Returns (new baseline, figures to log).

    rewards: (N,), higher is better. baseline: the moving average of rewards, None before the first. The
    entropy of the controller's output is part of the reward (section 4), so it enters the gradient twice: as
    a reward of the sampled tokens, and because it depends on the policy itself. ValueError if the shapes do
    not match.
    """
    entropy = rollout.entropies.sum(1)
    log_prob = rollout.log_probs.sum(1)
    if rewards.shape != log_prob.shape:
        raise ValueError(f"rewards {tuple(rewards.shape)} do not match {tuple(log_prob.shape)} architectures")
    total = rewards + entropy_coeff * entropy.detach()
    mean_reward = float(total.mean())
    baseline = (
        mean_reward if baseline is None else baseline_decay * baseline + (1 - baseline_decay) * mean_reward
    )
    advantage = total - baseline
    loss = -(advantage * log_prob + entropy_coeff * entropy).mean()

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    figures = {"reward": rewards, "entropy": entropy, "advantage": advantage, "loss": loss}
    return baseline, {name: value.detach().mean().item() for name, value in figures.items()}
