"""The terminal `interview`; it needs the extra `cli`."""

import sys

NEEDED = frozenset({"typer", "rich"})
"""What the extra `cli` installs."""


def main() -> int:
    """Run the program and return its exit code."""
    try:
        # The library is installed without what a terminal needs.
        from .app import run  # noqa: PLC0415  # the line above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write("error: the terminal needs: pip install 'interview-client[cli]'\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:])
