"""What a search compares: architectures with a score."""

from typing import Any, NamedTuple


class Candidate(NamedTuple):
    """An architecture, its score (higher is better), and what the search needs to go on from it (a controller's state, say)."""

    architecture: Any
    score: float
    state: Any = None


def top_k(candidates, k):
    """The k best candidates with distinct architectures, best first; of equal scores the earlier one comes first."""
    best, seen = [], set()
    for candidate in sorted(candidates, key=lambda candidate: -candidate.score):
        if candidate.architecture not in seen:
            seen.add(candidate.architecture)
            best.append(candidate)
    return best[:k]
