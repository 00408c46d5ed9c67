"""AutoGAN's search space: all of its cells, and random architectures.

models.autogan.architecture says what a cell may be.
"""

import itertools
import math
from functools import lru_cache

import torch

from models.autogan.architecture import Architecture, CellSpec, head_sizes


@lru_cache
def every_cell(level, space="authors"):
    """All cells possible at `level` (0-based), in token order: 36, 72, 144, ... CellSpecs.

    space: the name of the space; of the extended one there are 180, 360, 720, ...
    """
    rows = itertools.product(*map(range, head_sizes(level, space)))
    return tuple(CellSpec.from_tokens(tokens, level, space) for tokens in rows)


def every_architecture(levels):
    """Yield all of the authors' architectures with `levels` cells: 36, then 2,592, then 373,248, ..."""
    for cells in itertools.product(*map(every_cell, range(levels))):
        yield Architecture(cells)


def space_name(space):
    """The name of the space that a RestrictedSpace, or None, is a part of."""
    return "authors" if space is None else space.name


def is_inside(architecture, space):
    """Whether an architecture, or one that begins with its cells, is in a RestrictedSpace.

    space: the RestrictedSpace; None: the authors' space.
    """
    return architecture.space == "authors" if space is None else space.has(architecture)


def number_of_architectures(levels, space=None):
    """How many architectures of `levels` cells there are; None if they are too many to count.

    space: the RestrictedSpace to count in; None: the authors' space.
    """
    return math.prod(len(every_cell(level)) for level in range(levels)) if space is None else space.count()


def random_architecture(levels, generator, space=None):
    """An architecture with `levels` cells, all of them, or of a RestrictedSpace, equally likely.

    `generator`: a torch.Generator on the CPU.
    """
    if space is not None:
        return space.random_architecture(generator)
    sizes = [len(every_cell(level)) for level in range(levels)]
    drawn = [int(torch.randint(size, (), generator=generator)) for size in sizes]
    return Architecture(tuple(every_cell(level)[index] for level, index in enumerate(drawn)))


def distinct_architectures(levels, count, generator, space=None):
    """`count` distinct random architectures, in the order drawn; fewer if 20 times as many draws hold no
    more. The arguments are those of `random_architecture`.
    """
    found = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        found.setdefault(random_architecture(levels, generator, space))
    return list(found)


def stratified_architectures(levels, count, generator, space=None):
    """`count` distinct architectures in which the values of each token occur equally often (up to one).

    So they cover the space evenly: no choice is left out, whatever is good. Those of a RestrictedSpace are
    uniform instead: caps tie the tokens together. ValueError if the space holds fewer. `generator`: a
    torch.Generator on the CPU.
    """
    if space is not None:
        found = distinct_architectures(levels, count, generator, space)
        if len(found) < count:
            raise ValueError(f"the search's --only and caps leave {len(found)} architectures, not {count}")
        return found
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
