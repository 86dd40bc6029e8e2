"""Whether two sets of measurements can be told apart by their order (Mann and Whitney)."""

from collections.abc import Sequence
from math import sqrt


def chance_of_less(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how often one of the first is less than one of the second: 0.5, nobody can tell.

    This is the area under the curve of the best guesser that goes by one measurement.
    """
    pairs = [(a < b) + (a == b) / 2 for a in first for b in second]
    return sum(pairs) / len(pairs)


def chance_margin(first: int, second: int, deviations: float = 4.0) -> float:
    """Return how far from 0.5 that is by chance, for so many measurements of the same thing."""
    return deviations * sqrt((first + second + 1) / (12 * first * second))
