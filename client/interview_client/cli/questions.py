"""Questions before what cannot be taken back easily."""

import sys

import typer

from .failures import Failure


def confirm(question: str, *, yes: bool) -> None:
    """Ask, where somebody sits at a terminal. Raises Failure if the answer is no."""
    if yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question, err=True):
        raise Failure("nothing was changed")
