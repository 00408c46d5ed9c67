"""Parameters and MACs of the generators that a search draws, counted on the meta device.

The one definition: caps, scored.jsonl and the report all count here. Parameters are all weights of the
finished generator; MACs are the multiply-accumulates of its convolutions and linear layers for one image.
"""

from dataclasses import replace
from functools import lru_cache

import torch

from models import architectures
from models.autogan.architecture import CellSpec
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


def sizes_of_cells(level, gf_dim, bottom_width, num_classes=0, noise_dim=0, *, space="authors"):
    """[(parameters, MACs)] that each of `every_cell(level, space)` adds to a generator of these widths.

    A generator's sizes are those of its cells and of what stands before and after them. A cell's are those of
    its two convolutions and of what it has beside them.
    """
    widths = gf_dim, bottom_width, num_classes, noise_dim

    rows = []
    for spec in every_cell(level, space):
        parts = [
            (_cell_sizes(cell, *widths), _cell_sizes(without, *widths) if without else (0, 0))
            for cell, without in _parts(spec)
        ]
        rows.append(tuple(sum(size[which] - less[which] for size, less in parts) for which in (0, 1)))
    return rows


def _parts(spec):
    """[(a cell that has one part of `spec`, the same cell without it)]. The first part, the convolutions, has
    no cell without it: None. Among all cells there are few different parts, so few cells are built.
    """
    bare = CellSpec("post", "none", "nearest", False, (False,) * len(spec.skips))
    parts = [(replace(bare, conv=spec.conv, up=spec.up), None)]
    parts.append((replace(bare, conv=spec.conv, norm=spec.norm), replace(bare, conv=spec.conv)))
    parts.append((replace(bare, attention=spec.attention), bare))
    resampled = replace(bare, up=spec.up)
    parts.append((replace(resampled, shortcut=spec.shortcut), resampled))
    for source, wanted in enumerate(spec.skips):
        skips = tuple(wanted and source == each for each in range(len(spec.skips)))
        parts.append((replace(resampled, skips=skips), resampled))
    return parts


@lru_cache(maxsize=4096)
def _cell_sizes(spec, gf_dim, bottom_width, num_classes, noise_dim):
    """(parameters, MACs) of a cell in its place in a generator."""
    resolution = bottom_width << len(spec.skips)
    with torch.device("meta"):
        cell = Cell(gf_dim, gf_dim, [spec], num_classes, noise_dim)
        cell.eval()  # a batch norm in training may refuse a single value
        x = torch.zeros(1, gf_dim, resolution, resolution)
        sides = [bottom_width << (source + 1) for source in range(len(spec.skips))]
        features = [torch.zeros(1, gf_dim, side, side) for side in sides]
        labels = torch.zeros(1, dtype=torch.int64) if num_classes else None
        noise = torch.zeros(1, noise_dim)
        return count_parameters(cell), count_macs(cell, x, features, spec, labels, noise)
