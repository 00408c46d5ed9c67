"""The restricted space that a search's options ask for (--only, --max_params, --max_macs)."""

import dataclasses

from models.autogan.architecture import CHOICES, Architecture, parse_choice
from models.conditioning import NONE
from models.errors import ArchitectureError
from models.families import FAMILIES
from models_search.restricted_space import RestrictedSpace
from models_search.search_space import every_cell
from models_search.sizes import generator_sizes, sizes_of_cells
from utils.cli import UserError
from utils.training.memory import on_meta

CAPS = {"max_params": "parameters", "max_macs": "MACs"}  # in the order of generator_sizes


def restricted_space(levels, space, latent_dim, cells, conditioning=NONE):
    """The RestrictedSpace of architectures with so many cells; None if nothing restricts them.

    space, cells: the option groups of these names. Raises UserError if nothing is left.
    """
    caps = {name: getattr(space, name) for name in CAPS if getattr(space, name) is not None}
    if space.cap_gf_dim is not None and not caps:
        raise UserError("--cap_gf_dim: without effect without --max_params or --max_macs; leave it out")
    choices = _choices(space.only or ())
    chosen = [[_is_chosen(cell, choices) for cell in every_cell(level)] for level in range(levels)]
    if not caps:
        nothing = [[(0,)] * len(row) for row in chosen]
        return None if all(map(all, chosen)) else RestrictedSpace(levels, chosen, nothing, (0,))
    if space.cap_gf_dim is not None:
        cells = dataclasses.replace(cells, gf_dim=space.cap_gf_dim)
    rest, sizes = _sizes(levels, latent_dim, cells, conditioning)
    which = [index for index, name in enumerate(CAPS) if name in caps]
    rest = [rest[index] for index in which]
    sizes = [[tuple(row[index] for index in which) for row in rows] for rows in sizes]
    found = RestrictedSpace(levels, chosen, sizes, [cap - size for cap, size in zip(caps.values(), rest)])
    if found.is_empty():
        smallest = [[size + more for size, more in zip(rest, row)] for row in found.smallest()]
        width = "gf_dim" if space.cap_gf_dim is None else "cap_gf_dim"
        raise UserError(_no_room(caps, smallest, f"at --{width} {cells.gf_dim}"))
    return found


def _sizes(levels, latent_dim, cells, conditioning):
    """(parameters and MACs of what stands before and after the cells, those of the cells at each level)."""
    with on_meta(FAMILIES["autogan"].widths):
        widths = cells.gf_dim, cells.bottom_width, conditioning.num_classes
        sizes = [sizes_of_cells(level, *widths) for level in range(levels)]
        first = Architecture(tuple(every_cell(level)[0] for level in range(levels)))
        whole = generator_sizes(str(first), latent_dim, cells, conditioning)
    return [total - sum(rows[0][index] for rows in sizes) for index, total in enumerate(whole)], sizes


def _no_room(caps, smallest, where):
    """What is wrong with caps below every architecture.

    smallest: the sizes of architectures that no other one is below.
    """
    for index, (name, cap) in enumerate(caps.items()):
        least = min(row[index] for row in smallest)
        if cap < least:
            return (
                f"--{name}: no architecture has {cap:,} {CAPS[name]} or fewer; the smallest possible has "
                f"{least:,} {where}; raise it"
            )
    parameters = caps["max_params"]
    least = min(macs for count, macs in smallest if count <= parameters)
    return (
        f"--max_macs: no architecture of {parameters:,} parameters or fewer has {caps['max_macs']:,} MACs or "
        f"fewer; the smallest possible has {least:,} {where}; raise it or --max_params"
    )


def _choices(texts):
    """{choice: the options that are left} of the words after --only. Raises UserError."""
    choices = {}
    for text in texts:
        try:
            name, options = parse_choice(text)
        except ArchitectureError as error:
            raise UserError(f"--only: {error}") from None
        if name in choices:
            raise UserError(f"--only: {name} is restricted twice; write it once, like norm=none,batch")
        choices[name] = options
    return choices


def _is_chosen(cell, choices):
    return all(getattr(cell, name) in choices.get(name, options) for name, options in CHOICES.items())
