"""What a user's mistake about an architecture raises. No torch."""


class ArchitectureError(ValueError):
    """No architecture: a text or vector that describes none, or weights that belong to another one."""
