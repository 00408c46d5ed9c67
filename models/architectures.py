"""Any architecture from its text, whichever family it belongs to. No torch."""

from models.autogan.architecture import Architecture
from models.errors import ArchitectureError
from models.growing.architecture import GrowingArchitecture

CLASSES = {kind.family: kind for kind in (Architecture, GrowingArchitecture)}


def family_name(text):
    """The family that a text is written for: "autogan" or "growing". The text may be invalid."""
    return GrowingArchitecture.family if ":" in text else Architecture.family


def parse(text):
    """The Architecture or GrowingArchitecture of a text. Raises ArchitectureError if there is none.

    A network has at least one cell, so the empty architecture, from which a search starts, is refused.
    """
    architecture = CLASSES[family_name(text)].parse(text)
    if architecture == Architecture(()):
        raise ArchitectureError("cell 1 takes 4 tokens, not 0")
    return architecture
