"""How much of a soak or race test is run: a seed of it, or all with INTERVIEW_LONG=1."""

import os


def amount(seed: int, everything: int) -> int:
    """Return the number of rounds: a few in CI, all by `make test-long`."""
    return everything if os.environ.get("INTERVIEW_LONG") else seed
