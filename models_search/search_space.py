"""AutoGAN's search space: all of its cells, and random architectures.

models.autogan.architecture says what a cell may be.
"""

import itertools
import math
from functools import lru_cache

import torch

from models.autogan.architecture import Architecture, CellSpec, head_sizes


@lru_cache
def every_cell(level):
    """All cells possible at `level` (0-based), in token order: 36, 72, 144, ... CellSpecs."""
    return tuple(
        CellSpec.from_tokens(tokens, level) for tokens in itertools.product(*map(range, head_sizes(level)))
    )


def every_architecture(levels):
    """Yield all architectures with `levels` cells: 36, then 2,592, then 373,248, ..."""
    for cells in itertools.product(*map(every_cell, range(levels))):
        yield Architecture(cells)


def random_architecture(levels, generator):
    """An architecture with `levels` cells, all equally likely.

    `generator`: a torch.Generator on the CPU.
    """
    sizes = [len(every_cell(level)) for level in range(levels)]
    drawn = [int(torch.randint(size, (), generator=generator)) for size in sizes]
    return Architecture(tuple(every_cell(level)[index] for level, index in enumerate(drawn)))


def stratified_architectures(levels, count, generator):
    """`count` distinct architectures in which the values of each token occur equally often (up to one).

    So they cover the space evenly: no choice is left out, whatever is good. ValueError if the space holds
    fewer. `generator`: a torch.Generator on the CPU.
    """
    sizes = [size for level in range(levels) for size in head_sizes(level)]
    if count > math.prod(sizes):
        raise ValueError(f"{levels} cells make {math.prod(sizes)} architectures, not {count}")

    def draw(size):
        return int(torch.randint(size, (), generator=generator))

    shuffled = [torch.randperm(count, generator=generator) % size for size in sizes]
    rows = torch.stack(shuffled, dim=1).tolist()
    while True:
        seen = set()
        repeated = [row for row in rows if tuple(row) in seen or seen.add(tuple(row))]
        if not repeated:
            return [Architecture.from_tokens(row) for row in rows]
        for row in repeated:  # exchange a token with any other row, which keeps how often each value occurs
            other, token = rows[draw(count)], draw(len(sizes))
            row[token], other[token] = other[token], row[token]
