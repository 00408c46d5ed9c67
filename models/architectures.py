"""Architectures of every family, from their text. No torch."""

from models.autogan.architecture import Architecture
from models.growing.architecture import GrowingArchitecture


def parse(text):
    """The Architecture or GrowingArchitecture that `text` describes; raises ArchitectureError."""
    return (GrowingArchitecture if ":" in text else Architecture).parse(text)
