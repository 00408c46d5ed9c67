"""A part of AutoGAN's search space: generators that are made of some cells only, and within caps.

Caps are on the whole generator. A cell, or a token of one, may be drawn if further cells can complete it to a
generator within the caps: nothing is begun that must end outside. What makes this cheap is that the sizes of
a generator are sums over its cells.
"""

import bisect
import itertools
from collections import Counter
from functools import cached_property

import torch

from models.autogan.architecture import Architecture, head_sizes
from models_search.search_space import every_cell

EXACT_LEVELS = 4  # architectures of more cells are numbered by rounded sizes
BUCKETS = 256
MOST = 2**58  # of a size: sums stay within 64 bits


class RestrictedSpace:
    """The architectures of `levels` cells that use chosen cells, and whose sizes are within limits.

    chosen: for each level whether each of `every_cell(level, name)` may be used. sizes: for each level what
    each cell adds, a tuple with a number for each limit. limits: what the sums may be at most; one or two.
    name: of the space that the cells are of.
    """

    def __init__(self, levels, chosen, sizes, limits, name="authors"):
        self.levels, self.name = levels, name
        self._chosen = [torch.tensor(row) for row in chosen]
        self._sizes = [torch.tensor(rows).clamp(max=MOST) for rows in sizes]
        self._limits = torch.tensor(limits).clamp(max=MOST)
        # What the cells from a level on add at least: all sums that no other one is below.
        self._least = [torch.zeros(1, len(limits), dtype=torch.int64)]
        for rows, used in zip(reversed(self._sizes), reversed(self._chosen)):
            self._least.insert(0, _lowest((rows[used][:, None] + self._least[0]).flatten(0, 1)))

    def is_empty(self):
        """Whether no architecture is left."""
        return not self._fit(self._least[0]).any()

    def smallest(self):
        """The sums of sizes that no others are below, in each size, whatever the limits: tuples."""
        return [tuple(row) for row in self._least[0].tolist()]

    def has(self, architecture):
        """Whether an architecture is of the space, or a partial one can be completed to one that is."""
        cells, least = architecture.cells, self._least[architecture.levels]
        if cells and architecture.space != self.name:
            return False
        are_chosen = all(row[_position(cell)] for row, cell in zip(self._chosen, cells))
        return are_chosen and bool(self._fit(self.spent(architecture) + least).any())

    def spent(self, architecture):
        """What the cells of an architecture add together: (sizes,)."""
        added = [rows[_position(cell)] for cell, rows in zip(architecture.cells, self._sizes)]
        return sum(added, torch.zeros_like(self._limits))

    def next_cells(self, level, spent):
        """Which cells may follow: bool (N, number of cells at this level).

        spent: (N, sizes), of the cells before.
        """
        sums = (spent[:, None] + self._sizes[level])[:, :, None] + self._least[level + 1]
        return self._fit(sums).any(2) & self._chosen[level]

    def added(self, level, positions):
        """What these cells of the level add: (N, sizes). positions: in `every_cell`."""
        return self._sizes[level][positions]

    def _fit(self, sums):
        return (sums <= self._limits).all(-1)

    def count(self):
        """How many architectures there are; None if they have too many cells to be counted."""
        return self._ranks.count if self.levels <= EXACT_LEVELS else None

    def random_architecture(self, generator):
        """An architecture of the space, all equally likely. generator: a torch.Generator on the CPU."""
        while True:
            high, low = (int(torch.randint(2**62, (), generator=generator)) for _ in range(2))
            architecture = self._ranks.architecture((high << 62 | low) % self._ranks.count)
            if self.levels <= EXACT_LEVELS or self.has(architecture):
                return architecture

    @cached_property
    def _ranks(self):
        return _Ranks(self._sizes, self._chosen, self._limits, self.name)


class _Ranks:
    """Numbers the architectures of a space, in token order, without listing them.

    Of more than EXACT_LEVELS cells the sizes are rounded down to multiples of a unit, or there would be
    millions of different sums. So architectures just above the limits are numbered, too.
    """

    def __init__(self, sizes, chosen, limits, name):
        self._name = name
        least = [rows[used].amin(0) for rows, used in zip(sizes, chosen)]
        room = limits - sum(least)
        unit = torch.ones_like(room) if len(sizes) <= EXACT_LEVELS else room // BUCKETS + 1
        self._room, self._first = tuple((room // unit).tolist()), {}
        self._added = [  # for each level {position of a cell: what it adds to the least}
            {index: tuple(row) for index, row in enumerate(((rows - low) // unit).tolist()) if used[index]}
            for rows, low, used in zip(sizes, least, chosen)
        ]
        # For each level {what the cells from there on add to the least: how many ways to do so}.
        self._ways = [Counter({tuple([0] * len(limits)): 1})]
        for added in reversed(self._added):
            self._ways.insert(0, self._sums(Counter(added.values()), self._ways[0]))
        self.count = sum(self._ways[0].values())

    def _sums(self, cells, later):
        """{what a cell and the later ones add: number of ways}, within the limits."""
        sums = Counter()
        for (first, ways), (second, more) in itertools.product(cells.items(), later.items()):
            both = tuple(a + b for a, b in zip(first, second))
            if all(a <= b for a, b in zip(both, self._room)):
                sums[both] += ways * more
        return sums

    def architecture(self, rank):
        """The architecture with this number, of 0 to count - 1."""
        cells, room = [], self._room
        for level, added in enumerate(self._added):
            if (level, room) not in self._first:
                self._first[level, room] = self._first_ranks(level, room)
            positions, first_ranks = self._first[level, room]
            index = bisect.bisect_right(first_ranks, rank) - 1  # the last of equal ones: others have no way
            rank -= first_ranks[index]
            cells.append(every_cell(level, self._name)[positions[index]])
            room = tuple(a - b for a, b in zip(room, added[positions[index]]))
        return Architecture(tuple(cells))

    def _first_ranks(self, level, room):
        """(positions of the cells, the number of the first architecture with each of them)."""
        later, ways = self._ways[level + 1], {}
        for used in set(self._added[level].values()):
            left = [a - b for a, b in zip(room, used)]
            ways[used] = sum(n for more, n in later.items() if all(a <= b for a, b in zip(more, left)))
        numbers = [ways[used] for used in self._added[level].values()]
        return list(self._added[level]), [0, *itertools.accumulate(numbers[:-1])]


def _position(cell):
    """The position of a cell in `every_cell` of its level."""
    position = 0
    for token, size in zip(cell.tokens, head_sizes(len(cell.skips), cell.space)):
        position = position * size + token
    return position


def _lowest(sums):
    """The rows of (N, one or two sizes) that no other row is below, or equal to, in each size."""
    kept = []
    for row in sorted(set(map(tuple, sums.tolist()))):
        if not kept or row[-1] < kept[-1][-1]:
            kept.append(row)
    return torch.tensor(kept, dtype=torch.int64).view(-1, sums.shape[1])
