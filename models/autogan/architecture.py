"""An AutoGAN generator's architecture as data: frozen, hashable, one text form. No torch.

A generator is a row of cells. Each cell doubles the resolution, so the image has bottom_width << number of
cells pixels a side. A cell has one token for each of `CHOICES`, in that order. Every cell but the first has
one more token, its skip code (section 3.1 of the paper; the codes are the authors').

There are two spaces of cells: the authors', and an extended one with what section 5 asks for. The text of an
architecture of the extended space begins with its name: `extended 2 3 1 1 1 | 1 4 0 1 0 1`.
"""

import re
from dataclasses import dataclass, replace

from models.errors import ArchitectureError

# {space: {choice: options}}. A token is an index into a choice's options. Their order is written here and
# nowhere else.
CHOICES = {
    "authors": {
        "conv": ("post", "pre"),
        "norm": ("none", "batch", "instance"),
        "up": ("bilinear", "nearest", "deconv"),
        "shortcut": (False, True),
    },
    "extended": {
        "conv": ("post", "pre", "modulated"),
        "norm": ("none", "batch", "instance", "self_modulated", "adain"),
        "up": ("bilinear", "nearest", "deconv"),
        "shortcut": (False, True),
        "attention": (False, True),
    },
}
EXTENSIONS = ("repeat", "last")  # the ways of Architecture.extended
MOST_CELLS = 20  # a million times as wide as before the first


def head_sizes(level, space="authors"):
    """The number of values that each token of the cell at `level` (0-based) can take, in order."""
    sizes = tuple(len(options) for options in CHOICES[space].values())
    return sizes + (2**level,) if level else sizes


def parse_choice(text, space="authors"):
    """(choice, the options of it) of a text such as "norm=none,batch".

    Raises ArchitectureError for a text that names no choice of the space, or an option that it does not have.
    """
    choices = CHOICES[space]
    name, _, listed = text.partition("=")
    if name not in choices:
        raise ArchitectureError(
            f"'{text}' restricts none of {', '.join(choices)}; write it like norm=none,batch"
        )
    options = {str(option).lower(): option for option in choices[name]}
    words = [word.strip().lower() for word in listed.split(",")]
    for word in words:
        if word not in options:
            raise ArchitectureError(f"{name} is {', '.join(options)}, not '{word}'")
    return name, tuple(options[word] for word in words)


@dataclass(frozen=True)
class CellSpec:
    """One cell. `skips[j]` says whether cell j's feature is added; at level s there are s of them.

    space: the name of the space that its tokens are of.
    """

    conv: str
    norm: str
    up: str
    shortcut: bool
    skips: tuple[bool, ...] = ()
    attention: bool = False
    space: str = "authors"

    @property
    def tokens(self):
        """The cell's tokens: one per choice of its space, then the skip code."""
        choices = CHOICES[self.space].items()
        codes = tuple(options.index(getattr(self, choice)) for choice, options in choices)
        if not self.skips:
            return codes
        # Most significant bit first: in the third cell, code 1 is "from cell 2 only", 2 "from cell 1 only".
        return codes + (int("".join(str(int(skip)) for skip in self.skips), 2),)

    @classmethod
    def from_tokens(cls, tokens, level, space="authors"):
        """The cell at `level` (0-based) from its tokens. Raises ArchitectureError if there is none."""
        sizes, choices = head_sizes(level, space), CHOICES[space]
        if len(tokens) != len(sizes):
            raise ArchitectureError(f"cell {level + 1} takes {len(sizes)} tokens, not {len(tokens)}")
        names = (*choices, "skip")
        for name, token, size in zip(names, tokens, sizes):
            if not 0 <= token < size:
                raise ArchitectureError(f"cell {level + 1}: {name} is 0 to {size - 1}, not {token}")
        chosen = {choice: options[token] for (choice, options), token in zip(choices.items(), tokens)}
        skips = tuple(bit == "1" for bit in f"{tokens[-1]:0{level}b}") if level else ()
        return cls(**chosen, skips=skips, space=space)


@dataclass(frozen=True)
class Architecture:
    """A generator's cells, from the lowest resolution up. A search starts without any."""

    family = "autogan"
    cells: tuple[CellSpec, ...]

    @classmethod
    def from_tokens(cls, tokens, space="authors"):
        """From the flat vector of the authors' `--arch`: 4 tokens, then 5 for each further cell.

        One more each in the extended space. Raises ArchitectureError if the tokens describe no architecture.
        """
        tokens = tuple(int(token) for token in tokens)
        cells, position = [], 0
        while position < len(tokens) or not cells:
            _refuse_many_cells(len(cells) + 1)
            width = len(head_sizes(len(cells), space))
            cells.append(CellSpec.from_tokens(tokens[position : position + width], len(cells), space))
            position += width
        return cls(tuple(cells))

    @classmethod
    def parse(cls, text):
        """From a published name, the text form `1 0 1 1 | 1 0 0 1 1`, or the flat vector.

        The vector may be a list as Python prints it, flat as in the authors' logs or with a list per cell.
        Before any form but a name the word `extended` may stand. The empty text is the architecture without
        cells. Raises ArchitectureError for any other text.
        """
        text = PUBLISHED.get(text, text).strip()
        if not text:
            return cls(())
        space, text = _space_and_vector(text)
        try:
            cells = _without_brackets(text).split("|")
            tokens = [[int(token) for token in cell.replace(",", " ").split()] for cell in cells]
        except ValueError:
            known = ", ".join(PUBLISHED)
            raise ArchitectureError(
                f"'{text}' is neither a vector such as '1 0 1 1 | 1 0 0 1 1' nor one of {known}"
            ) from None
        if len(tokens) == 1:
            return cls.from_tokens(tokens[0], space)
        _refuse_many_cells(len(tokens))
        return cls(tuple(CellSpec.from_tokens(cell, level, space) for level, cell in enumerate(tokens)))

    @property
    def space(self):
        """The name of the space that its cells are of."""
        return self.cells[0].space if self.cells else "authors"

    @property
    def tokens(self):
        """The flat vector."""
        return tuple(token for cell in self.cells for token in cell.tokens)

    @property
    def levels(self):
        """Number of cells."""
        return len(self.cells)

    def extended(self, levels, way):
        """The architecture with further cells, until it has `levels`; each is a copy of an earlier one.

        way: "last" copies the last cell each time, "repeat" the cells in turn, from the first one on. The
        skips of a copy are shifted: they come from as many cells below it as those of its original, which
        keeps the tokens. A copy of the first cell has no skips.
        """
        cells, distance = list(self.cells), {"last": 1, "repeat": self.levels}[way]
        for level in range(self.levels, levels):
            copied = cells[level - distance]
            cells.append(replace(copied, skips=(False,) * distance + copied.skips))
        return replace(self, cells=tuple(cells))

    @property
    def first_norm(self):
        """The norm that sees bottom_width x bottom_width pixels, the first cell's input: "none" if none."""
        return self.cells[0].norm if self.cells[0].conv == "pre" else "none"

    def __str__(self):
        vector = " | ".join(" ".join(str(token) for token in cell.tokens) for cell in self.cells)
        return vector if self.space == "authors" else f"{self.space} {vector}"


def _space_and_vector(text):
    """(space, what follows its name) of a text form."""
    first, *rest = text.split(maxsplit=1)
    return (first, "".join(rest)) if first in CHOICES else ("authors", text)


def _refuse_many_cells(count):
    if count > MOST_CELLS:
        raise ArchitectureError(f"an architecture has at most {MOST_CELLS} cells, not {count} or more")


def _without_brackets(text):
    """`[[1, 0, 1, 1], [1, 0, 0, 1, 1]]` -> `1, 0, 1, 1 | 1, 0, 0, 1, 1`; other texts as they are."""
    text = text.translate(str.maketrans("()", "[]"))
    lists = re.findall(r"\[([^][]*)\]", text)
    around = re.sub(r"\[[^][]*\]", "", text).replace(",", "").replace(" ", "")
    is_list = lists and re.fullmatch(r"\[*\]*", around) and around.count("[") == around.count("]")
    return " | ".join(lists) if is_list else text


PUBLISHED = {
    "autogan_cifar10_a": "1 0 1 1 | 1 0 0 1 1 | 1 0 1 0 3",
    "autogan_cifar10_b": "1 0 1 1 | 1 0 1 1 1 | 1 0 1 1 3",
    "autogan_cifar10_c": "1 1 1 1 | 1 0 0 1 1 | 1 0 1 0 3",
    "sngan": "1 1 1 1 | 1 1 1 1 0 | 1 1 1 1 0",
    "e2gan_cifar10": "0 1 0 1 | 0 1 2 1 0 | 0 1 0 1 2",
}
