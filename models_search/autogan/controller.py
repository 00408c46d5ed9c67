"""The LSTM controller of one level, drawing its cells token by token, and its REINFORCE update.

Sections 3.3.2 and 3.3.3. A level of the multi-level search adds one cell, that of the single-level one all.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from models.autogan.architecture import Architecture, CellSpec, head_sizes


class BeamEntry(NamedTuple):
    """An architecture that a level has kept, its reward, and the LSTM state (hidden, cell) after its last
    token.
    """

    architecture: Architecture
    score: float
    lstm_state: tuple


class Rollout(NamedTuple):
    """N rows of cells drawn by a controller with T heads."""

    actions: torch.Tensor  # (N, T) int64 tokens
    log_probs: torch.Tensor  # (N, T) of the tokens drawn
    entropies: torch.Tensor  # (N, T) of the distributions they were drawn from
    state: tuple  # hidden and cell state (N, hidden_size) after the last token


def heads_of(first_cell, level):
    """How many values each token of the cells `first_cell` to `level` can take: cell by cell, in the order of
    an architecture's flat vector.
    """
    return tuple(size for cell in range(first_cell, level + 1) for size in head_sizes(cell))


class Controller(nn.Module):
    """Policy over the cells `first_cell` to `level`, by default the last of them alone: each token is drawn
    from a softmax over the LSTM's output and fed back in.

    It is tiny and lives on the CPU, so drawing architectures never waits for a GPU.
    """

    def __init__(self, level, hidden_size=100, first_cell=None):
        super().__init__()
        self.level, self.first_cell = level, level if first_cell is None else first_cell
        self.hidden_size, self.heads = hidden_size, heads_of(self.first_cell, level)
        self.lstm = nn.LSTMCell(hidden_size, hidden_size)
        self.encoder = nn.Embedding(sum(self.heads), hidden_size)
        self.decoders = nn.ModuleList(nn.Linear(hidden_size, size) for size in self.heads)

    def forward(self, state, uniforms=None, actions=None):
        """Roll out from `state` (hidden and cell, (N, hidden_size)): draw tokens by `uniforms` (N, T) in [0,
        1), or force `actions` (N, T).

        A token is the inverse of its distribution function at the uniform number, so each row's draw is its
        own, however many rows are drawn together.
        """
        token_input = torch.zeros_like(state[0])
        first_token_of_head, steps = 0, []
        for head, size in enumerate(self.heads):
            state = self.lstm(token_input, state)
            log_p = F.log_softmax(self.decoders[head](state[0]), dim=1)
            p = log_p.exp()
            if actions is None:
                token = (p.detach().cumsum(1) <= uniforms[:, head : head + 1]).sum(1).clamp(max=size - 1)
            else:
                token = actions[:, head]
            steps.append((token, log_p.gather(1, token[:, None])[:, 0], -(p * log_p).sum(1)))
            token_input = self.encoder(token + first_token_of_head)
            first_token_of_head += size
        drawn, log_probs, entropies = (torch.stack(column, dim=1) for column in zip(*steps))
        return Rollout(drawn, log_probs, entropies, state)


class UniformController(nn.Module):
    """Random search: every token with equal probability, and nothing to learn."""

    def __init__(self, level, hidden_size=100, first_cell=None):
        super().__init__()
        self.level, self.first_cell = level, level if first_cell is None else first_cell
        self.heads = heads_of(self.first_cell, level)

    def forward(self, state, uniforms):
        """As `Controller.forward`, without the choice of forcing actions; the state is passed through."""
        sizes = torch.tensor(self.heads)
        log_probs = -sizes.float().log().expand_as(uniforms)
        return Rollout((uniforms * sizes).long(), log_probs, -log_probs, state)


def first_beam(hidden_size=100):
    """The beam before the first level: no cells yet, and a zero state to start from."""
    return [BeamEntry(Architecture(()), 0.0, (torch.zeros(hidden_size), torch.zeros(hidden_size)))]


def sample_architectures(controller, beam, count, generator):
    """Sample `count` architectures: each extends a random entry of the beam by the controller's cells.

    The entry's LSTM state starts the controller. Returns (architectures, Rollout). `generator`: a
    torch.Generator on the CPU.
    """
    uniforms = torch.rand(count, 1 + len(controller.heads), generator=generator)
    parents = [beam[int(u * len(beam))] for u in uniforms[:, 0].tolist()]
    state = tuple(torch.stack(part) for part in zip(*(parent.lstm_state for parent in parents)))
    rollout = controller(state, uniforms[:, 1:])
    rows = [_cells(tokens, controller.first_cell) for tokens in rollout.actions.tolist()]
    return [Architecture((*parent.architecture.cells, *row)) for parent, row in zip(parents, rows)], rollout


def _cells(tokens, first_cell):
    """The cells of a row of tokens, of which the first is cell `first_cell`."""
    cells, position = [], 0
    while position < len(tokens):
        level = first_cell + len(cells)
        end = position + len(head_sizes(level))
        cells.append(CellSpec.from_tokens(tokens[position:end], level))
        position = end
    return cells


def reinforce(optimizer, rollout, rewards, baseline, entropy_coeff=1e-4, baseline_decay=0.9):
    """One policy-gradient step on a rollout of N architectures with `rewards` (N,); returns (new baseline,
    figures to log).

    The entropy of the controller's output is part of the reward (section 4), so it counts twice in the
    gradient: as reward of the tokens drawn, and by its own dependence on the policy. `baseline` is the moving
    average of rewards, None before the first.
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
