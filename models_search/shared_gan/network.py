"""The shared GAN: one generator in which every architecture of the search space can run."""

from models.autogan.networks import Generator
from models_search.search_space import every_cell


def shared_generator(levels=3, **widths):
    """A Generator whose cells hold every candidate of their level; call it with an architecture of at most `levels` cells."""
    return Generator([every_cell(level) for level in range(levels)], **widths)
