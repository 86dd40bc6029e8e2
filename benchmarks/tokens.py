"""What it costs to tell whose an access token is: the first time, and when it is remembered.

In one process and without a server: the figures are CPU of the caller's thread alone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import process_time_ns
from typing import Final
from uuid import uuid4

from server.auth.key_ring import ring_of
from server.auth.keys import ALGORITHMS, new_signing_key
from server.auth.tokens import AccessTokens

ROUNDS: Final = 7
TOKENS: Final = 500
AGAIN: Final = 20


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Microseconds of CPU per verification and per new token, medians of the rounds."""

    algorithm: str
    issued: float
    first: float
    remembered: float


def run() -> str:
    """Return a table of both algorithms."""
    head = f"{'algorithm':<10}{'issue us':>10}{'first us':>10}{'again us':>10}{'first / again':>15}"
    lines = [head]
    for algorithm in ALGORITHMS:
        of = _measured(algorithm)
        ratio = of.first / of.remembered
        lines.append(
            f"{algorithm:<10}{of.issued:>10.1f}{of.first:>10.1f}{of.remembered:>10.2f}{ratio:>15.0f}"
        )
    return "\n".join(lines)


def _measured(algorithm: str) -> TokenFigures:
    rounds = [_round(algorithm) for _ in range(ROUNDS)]
    issued, first, remembered = (median(column) for column in zip(*rounds, strict=True))
    return TokenFigures(algorithm, issued, first, remembered)


def _round(algorithm: str) -> tuple[float, float, float]:
    """Issue, verify and verify again; return microseconds for each."""
    now = datetime.now(UTC)
    ring = ring_of(new_signing_key(algorithm), now)
    tokens = AccessTokens(ring, issuer="bench", audience="bench", clock=lambda: datetime.now(UTC))
    begun = process_time_ns()
    made = [tokens.issue(uuid4(), uuid4(), ("viewer",), now)[0] for _ in range(TOKENS)]
    issued = process_time_ns()
    for token in made:
        tokens.verify(token)
    verified = process_time_ns()
    for _ in range(AGAIN):
        for token in made:
            tokens.verify(token)
    again = process_time_ns()
    each = TOKENS * 1000
    return (issued - begun) / each, (verified - issued) / each, (again - verified) / each / AGAIN
