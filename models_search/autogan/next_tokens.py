"""Which tokens a controller may draw next in a restricted space."""

import torch

from models.autogan.architecture import head_sizes


class NextTokens:
    """Counts what each next token leaves, in N rows of tokens that begin after partial architectures.

    space: a RestrictedSpace. parents: the architectures, all of one level.
    """

    def __init__(self, space, parents):
        self._space, self._level = space, parents[0].levels
        self._spent = torch.stack([space.spent(parent) for parent in parents])
        self._begin_cell()

    def _begin_cell(self):
        spent, self._group = torch.unique(self._spent, dim=0, return_inverse=True)
        self._tokens, self._heads = [], head_sizes(self._level, self._space.name)
        cells = self._space.next_cells(self._level, spent).view(-1, *self._heads)
        # For each head: how many cells begin with some tokens and one of its own.
        ends = range(2, len(self._heads) + 2)
        self._counts = [cells.reshape(*cells.shape[:end], -1).sum(-1) for end in ends]

    def counts(self):
        """How many of the next cell's values each next token leaves: (N, values of the token).

        0: the token leads out of the space.
        """
        return self._counts[len(self._tokens)][(self._group, *self._tokens)]

    def take(self, tokens):
        """Go on with these tokens (N,), one for each row."""
        self._tokens.append(tokens)
        if len(self._tokens) < len(self._heads):
            return
        position = torch.zeros_like(tokens)
        for token, size in zip(self._tokens, self._heads):
            position = position * size + token
        self._spent = self._spent + self._space.added(self._level, position)
        self._level += 1
        if self._level < self._space.levels:
            self._begin_cell()
