"""Parameters and MACs of the generators that a search draws, counted on the meta device.

The one definition: caps, scored.jsonl and the report all count here. Parameters are all weights of the
finished generator; MACs are the multiply-accumulates of its convolutions and linear layers for one image.
"""

from dataclasses import replace
from functools import lru_cache

import torch

from models import architectures
from models.autogan.blocks import Cell
from models.conditioning import NONE
from models.families import family
from models_search.search_space import every_cell
from utils.training.sizes import count_macs, count_parameters


@lru_cache(maxsize=4096)
def generator_sizes(text, latent_dim, cells, conditioning=NONE):
    """(parameters, MACs) of the finished generator of an architecture.

    cells: the option group of this name; a growing architecture does not read it.
    """
    architecture = architectures.parse(text)
    with torch.device("meta"):
        networks = family(architecture).networks
        generator, _ = networks(architecture, latent_dim, cells, conditioning=conditioning)
        return count_parameters(generator), count_macs(generator, torch.zeros(1, latent_dim))


def sizes_of_cells(level, gf_dim, bottom_width, num_classes=0):
    """[(parameters, MACs)] that each of `every_cell(level)` adds to a generator of these widths.

    A generator's sizes are those of its cells and of what stands before and after them. A cell's are those of
    the cell without skips, and of each skip, which depends on its source and on the kind of upsampling.
    """
    added, rows = {}, []  # added: {(up, source): sizes of the skip}
    widths = gf_dim, bottom_width, num_classes
    for spec in every_cell(level):
        kind = spec.up, spec.skips.index(True) if sum(spec.skips) == 1 else None
        if kind[1] is not None and kind not in added:
            pair = _cell_sizes(spec, *widths), _plain_sizes(spec, *widths)
            added[kind] = tuple(own - plain for own, plain in zip(*pair))
    for spec in every_cell(level):
        skips = [added[spec.up, source] for source, wanted in enumerate(spec.skips) if wanted]
        rows.append(tuple(map(sum, zip(_plain_sizes(spec, *widths), *skips))))
    return rows


def _plain_sizes(spec, *widths):
    return _cell_sizes(replace(spec, skips=(False,) * len(spec.skips)), *widths)


@lru_cache(maxsize=4096)
def _cell_sizes(spec, gf_dim, bottom_width, num_classes):
    """(parameters, MACs) of a cell in its place in a generator."""
    resolution = bottom_width << len(spec.skips)
    with torch.device("meta"):
        cell = Cell(
            gf_dim, gf_dim, [spec], num_classes
        ).eval()  # a batch norm in training may refuse a single value
        x = torch.zeros(1, gf_dim, resolution, resolution)
        sides = [bottom_width << (source + 1) for source in range(len(spec.skips))]
        features = [torch.zeros(1, gf_dim, side, side) for side in sides]
        labels = [torch.zeros(1, dtype=torch.int64)] if num_classes else []
        return count_parameters(cell), count_macs(cell, x, features, spec, *labels)
