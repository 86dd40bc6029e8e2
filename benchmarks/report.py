"""A run's figures as text and as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import sqlalchemy

from benchmarks.rounds import Figures

_HEAD = (
    "database",
    "scenario",
    "at once",
    "bytes",
    "of echo",
    "CPU of echo",
    "req/s",
    "CPU us",
    "echo us",
    "p50 ms",
    "p99 ms",
    "echo p99",
)
_LEFT = 2
"""So many columns are words; the rest are numbers."""


@dataclass(frozen=True, slots=True)
class StartFigures:
    """CPU seconds from the start of the process until each part answered."""

    database: str
    catalogue_cpu_seconds: float
    agents_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class ChatFigures:
    """One turn without a handoff; the first token's delay is counted from the model's."""

    tokens: int
    turns: int
    cpu_ms_per_turn: float
    first_token_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run showed."""

    calls: Sequence[Figures]
    starts: Sequence[StartFigures]
    imports: dict[str, list[str]]
    chat: ChatFigures

    def write_json(self, file: Path) -> None:
        """Write the figures with what they were measured on."""
        machine = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "grpc": grpc.__version__,
            "sqlalchemy": sqlalchemy.__version__,
        }
        text = json.dumps({"machine": machine, **asdict(self)}, indent=2)
        file.write_text(text + "\n", encoding="utf-8")

    def text(self) -> str:
        """Return the figures as aligned text."""
        rows = [_HEAD, *(_row(figures) for figures in self.calls)]
        starts = [
            f"start on {start.database}: catalogue answers after"
            f" {start.catalogue_cpu_seconds:.2f} s of CPU,"
            f" agents after {start.agents_cpu_seconds:.2f} s"
            for start in self.starts
        ]
        imports = [
            f"interview-server {command} imports {', '.join(found) or 'no heavy package'}"
            for command, found in self.imports.items()
        ]
        chat = (
            f"chat turn of {self.chat.tokens} tokens: {self.chat.cpu_ms_per_turn:.1f} ms of CPU,"
            f" first token {self.chat.first_token_ms:.1f} ms after the model's"
            f" (medians of {self.chat.turns} turns)"
        )
        return "\n".join([_ratios(), "", *aligned(rows), "", *starts, *imports, chat])


def conditions() -> str:
    """Return what the figures were measured on."""
    return (
        f"{os.cpu_count()} CPUs shared by the server, its database and the load generator;"
        f" CPython {platform.python_version()}, grpcio {grpc.__version__}."
    )


def _ratios() -> str:
    return (
        f"{conditions()}\n"
        "`of echo` (throughput) and `CPU of echo` (echo's CPU per request / ours) are medians of\n"
        "interleaved pairs of rounds; only they can be compared between machines."
    )


def _row(figures: Figures) -> tuple[str, ...]:
    return (
        figures.database,
        figures.scenario,
        str(figures.concurrency),
        str(figures.answer_bytes),
        f"{figures.throughput_of_echo:.2f}",
        f"{figures.cpu_of_echo:.2f}",
        f"{figures.requests_per_second:.0f}",
        f"{figures.cpu_us:.0f}",
        f"{figures.echo_cpu_us:.0f}",
        f"{figures.p50_ms:.2f}",
        f"{figures.p99_ms:.2f}",
        f"{figures.echo_p99_ms:.2f}",
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < _LEFT else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
