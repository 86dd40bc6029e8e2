"""Words with one letter wrong: which words of the index may have been meant.

Two words within one mistake of each other have a common form: each as it is or with one of its
letters left out. So the index keeps these forms of its words, and a query's forms are looked up
among them, on any database and by plain equality. What is found so is then compared truly.
"""

from collections.abc import Iterable
from typing import Final

LEAST_LETTERS: Final = 4
"""Shorter words have too many neighbours to guess which was meant."""
MOST_LETTERS: Final = 32
"""Longer words are looked for as they are: they would have too many forms."""
MAX_MEANT: Final = 16
"""Words that one mistyped word may stand for."""


def may_be_mistyped(word: str) -> bool:
    """Tell whether a query's word is one that is looked for with a letter wrong."""
    return LEAST_LETTERS <= len(word) <= MOST_LETTERS and not word.isdigit()


def may_be_meant(word: str) -> bool:
    """Tell whether a word of the index can be one mistake away from such a word."""
    return LEAST_LETTERS - 1 <= len(word) <= MOST_LETTERS + 1 and not word.isdigit()


def variants(word: str) -> set[str]:
    """Return the word, and it with each of its letters left out."""
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


def is_one_mistake(left: str, right: str) -> bool:
    """Tell whether one letter is wrong, missing or too many, or two neighbours are swapped.

    This is the Damerau-Levenshtein distance of 1.
    """
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    same = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        same += 1
    rest, others = left[same:], right[same:]
    if len(rest) == len(others):
        swapped = len(rest) > 1 and (rest[1], rest[0]) == (others[0], others[1])
        return rest[1:] == others[1:] or (swapped and rest[2:] == others[2:])
    return rest[1:] == others if len(rest) > len(others) else rest == others[1:]


def meant(word: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Return the candidates that are one mistake away, at most MAX_MEANT.

    First those with the same first letter, which is seldom mistyped, then by letters.
    """
    near = {candidate for candidate in candidates if is_one_mistake(word, candidate)}
    return tuple(sorted(near, key=lambda each: (each[:1] != word[:1], each))[:MAX_MEANT])
