"""AutoGAN's search space: all of its cells, and random architectures.

models.autogan.architecture says what a cell may be.
"""

import itertools
from functools import lru_cache

import torch

from models.autogan.architecture import Architecture, CellSpec, head_sizes


@lru_cache
def every_cell(level):
    """All cells possible at `level` (0-based), in token order: 36, 72, 144, ... CellSpecs."""
    return tuple(
        CellSpec.from_tokens(tokens, level) for tokens in itertools.product(*map(range, head_sizes(level)))
    )


def random_architecture(levels, generator):
    """An architecture with `levels` cells, all equally likely.

    `generator`: a torch.Generator on the CPU.
    """
    sizes = [len(every_cell(level)) for level in range(levels)]
    drawn = [int(torch.randint(size, (), generator=generator)) for size in sizes]
    return Architecture(tuple(every_cell(level)[index] for level, index in enumerate(drawn)))
