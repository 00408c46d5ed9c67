"""Ranks what a search compares: architectures with a score."""


def top_k(candidates, k):
    """The k best candidates with distinct architectures, best first.

    Of equal scores the earlier one comes first. candidates: anything with `architecture` (hashable) and
    `score` (higher is better).
    """
    best, seen = [], set()
    for candidate in sorted(candidates, key=lambda candidate: -candidate.score):
        if candidate.architecture not in seen:
            seen.add(candidate.architecture)
            best.append(candidate)
    return best[:k]
