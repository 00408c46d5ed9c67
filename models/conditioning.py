"""What a GAN knows of its images beside the pixels, as data. No torch."""

from typing import NamedTuple


class Conditioning(NamedTuple):
    """How the networks are conditioned on classes; by default not at all. And which further heads the
    discriminator has: they predict an image's class, and how it was rotated.
    """

    num_classes: int = 0
    class_head: bool = False
    rotation_head: bool = False


NONE = Conditioning()
