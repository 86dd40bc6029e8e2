"""Texts as directions in space, and the films whose directions are nearest to a query's.

Importing this module loads the model's code; `server.catalogue.meaning` does so where it is needed.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import wordllama  # type: ignore[import-untyped]  # it does not say that it is typed
from numpy.typing import NDArray

Directions = NDArray[np.float32]

_LEAST_LENGTH: Final = 1e-9
"""Of a text without any word that the model knows nothing is left to divide by."""


class Embedder:
    """The static model of the package wordllama: a text is the mean of its pieces' vectors."""

    def __init__(self) -> None:
        """Read 18 MB of files that come with the package; nothing is fetched."""
        logging.getLogger("wordllama").setLevel(logging.WARNING)
        # The package looks for its tokenizer beside a folder that it does not have; told that
        # its cache is where it is installed, it finds it.
        folder = Path(wordllama.__file__).parent
        self._model: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def directions(self, texts: Sequence[str]) -> Directions:
        """Return a vector of length 1 for each text, or of length 0 for one that says nothing."""
        if not any(texts):
            return np.zeros((len(texts), self._model.embedding.shape[1]), np.float32)
        vectors: Directions = self._model.embed(list(texts))
        vectors = np.nan_to_num(vectors)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        directions: Directions = vectors / np.maximum(lengths, _LEAST_LENGTH)
        return directions


class Vectors:
    """Numbers of films and the directions of their texts; it is never changed, only replaced."""

    def __init__(self, numbers: NDArray[np.int64], directions: Directions) -> None:
        self._numbers = numbers
        self._directions = directions

    @classmethod
    def of(cls, parts: Sequence[tuple[Sequence[int], Directions]]) -> "Vectors":
        """Return the vectors of all parts; without a part there is no film."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty((0, 0), np.float32))
        numbers = np.concatenate([np.asarray(ids, np.int64) for ids, _ in parts])
        return cls(numbers, np.concatenate([directions for _, directions in parts]))

    def __len__(self) -> int:
        """Return how many films there are."""
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the films."""
        return iter(self._numbers.tolist())

    def replaced(
        self, gone: Collection[int], numbers: Sequence[int], directions: Directions
    ) -> "Vectors":
        """Return these without the films that are gone, and with those that are given."""
        kept = ~np.isin(self._numbers, np.asarray(list(gone), np.int64))
        parts: list[tuple[Any, Directions]] = []
        if kept.any():
            parts.append((self._numbers[kept], self._directions[kept]))
        if numbers:
            parts.append((numbers, directions))
        return Vectors.of(parts)

    def nearest(self, direction: Directions, limit: int, least: float) -> list[tuple[int, float]]:
        """Return at most `limit` films at least so near, the nearest first, then by number.

        Nearness is the cosine of the angle between the directions, at most 1.
        """
        if not len(self):
            return []
        nearness = self._directions @ direction
        (near,) = np.nonzero(nearness >= least)
        if len(near) > limit:
            near = near[np.argpartition(-nearness[near], limit - 1)[:limit]]
        order = near[np.lexsort((self._numbers[near], -nearness[near]))]
        return list(zip(self._numbers[order].tolist(), nearness[order].tolist(), strict=True))
