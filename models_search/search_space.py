"""AutoGAN's search space, enumerated and sampled. What a cell may be is written in
models.autogan.architecture.
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
    """One of the architectures with that many cells, each equally likely; `generator` is a torch.Generator on
    the CPU.
    """
    sizes = [len(every_cell(level)) for level in range(levels)]
    drawn = [int(torch.randint(size, (), generator=generator)) for size in sizes]
    return Architecture(tuple(every_cell(level)[index] for level, index in enumerate(drawn)))
