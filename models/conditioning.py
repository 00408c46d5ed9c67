"""What a GAN knows of its images' classes, as data. No torch."""

from typing import NamedTuple


class Conditioning(NamedTuple):
    """How the networks are conditioned on classes; by default not at all."""

    num_classes: int = 0


NONE = Conditioning()
