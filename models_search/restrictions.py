"""The space that a search's options ask for (--space, --attention_size, --only, --max_params, --max_macs)."""

import dataclasses

from models.autogan.architecture import Architecture, parse_choice
from models.autogan.networks import noise_width
from models.conditioning import NONE
from models.errors import ArchitectureError
from models.families import FAMILIES
from models_search.restricted_space import RestrictedSpace
from models_search.search_space import every_cell
from models_search.sizes import generator_sizes, sizes_of_cells
from utils.cli import UserError
from utils.training.memory import on_meta

CAPS = {"max_params": "parameters", "max_macs": "MACs"}  # in the order of generator_sizes
ATTENTION_SIZE = 16  # attention costs the fourth power of the size; SAGAN has it at 32 px, for images of 128


def restricted_space(levels, space, latent_dim, cells, conditioning=NONE):
    """The RestrictedSpace of architectures with so many cells; None: all of the authors' space.

    space, cells: the option groups of these names. Raises UserError if nothing is left, or if an option has
    no effect.
    """
    caps = {name: getattr(space, name) for name in CAPS if getattr(space, name) is not None}
    if space.cap_gf_dim is not None and not caps:
        raise UserError("--cap_gf_dim: without effect without --max_params or --max_macs; leave it out")
    chosen = _chosen(levels, space, cells.bottom_width)
    if not caps:
        if space.space == "authors" and all(map(all, chosen)):
            return None
        return RestrictedSpace(levels, chosen, [[(0,)] * len(row) for row in chosen], (0,), space.space)
    if space.cap_gf_dim is not None:
        cells = dataclasses.replace(cells, gf_dim=space.cap_gf_dim)
    rest, sizes = _sizes(levels, latent_dim, cells, conditioning, space.space)
    which = [index for index, name in enumerate(CAPS) if name in caps]
    rest = [rest[index] for index in which]
    sizes = [[tuple(row[index] for index in which) for row in rows] for rows in sizes]
    limits = [cap - size for cap, size in zip(caps.values(), rest)]
    found = RestrictedSpace(levels, chosen, sizes, limits, space.space)
    if found.is_empty():
        smallest = [[size + more for size, more in zip(rest, row)] for row in found.smallest()]
        width = "gf_dim" if space.cap_gf_dim is None else "cap_gf_dim"
        raise UserError(_no_room(caps, smallest, f"at --{width} {cells.gf_dim}"))
    return found


def _chosen(levels, space, bottom_width):
    """For each level whether each of its cells may be drawn, whatever the caps. Raises UserError if none may.

    space: the option group of this name.
    """
    if space.space == "authors" and space.attention_size is not None:
        raise UserError("--attention_size: without effect without --space extended; leave it out")
    largest = ATTENTION_SIZE if space.attention_size is None else space.attention_size
    choices, chosen = _choices(space), []
    for level in range(levels):
        size = bottom_width << (level + 1)
        row = [
            _is_chosen(cell, choices) and (size <= largest or not cell.attention)
            for cell in every_cell(level, space.space)
        ]
        if not any(row):
            cure = "raise it, or allow cells without attention"
            raise UserError(f"--attention_size: {largest} leaves no cell of {size} px with --only; {cure}")
        chosen.append(row)
    return chosen


def _sizes(levels, latent_dim, cells, conditioning, name):
    """(parameters and MACs of what stands before and after the cells, those of the cells at each level)."""
    with on_meta(FAMILIES["autogan"].widths):
        noise_dim = noise_width(latent_dim, conditioning.num_classes)
        widths = cells.gf_dim, cells.bottom_width, conditioning.num_classes, noise_dim
        sizes = [sizes_of_cells(level, *widths, space=name) for level in range(levels)]
        first = Architecture(tuple(every_cell(level, name)[0] for level in range(levels)))
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


def _choices(space):
    """{choice: the options that are left} of the words after --only. Raises UserError."""
    choices = {}
    for text in space.only or ():
        try:
            name, options = parse_choice(text, space.space)
        except ArchitectureError as error:
            more = "" if space.space == "extended" else " (further ones: --space extended)"
            raise UserError(f"--only: {error}{more}") from None
        if name in choices:
            raise UserError(f"--only: {name} is restricted twice; write it once, like norm=none,batch")
        choices[name] = options
    return choices


def _is_chosen(cell, choices):
    return all(getattr(cell, name) in options for name, options in choices.items())
