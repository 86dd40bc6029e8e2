"""What a server's port of metrics says."""

import asyncio
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Scrape:
    """One answer, by samples."""

    text: str
    samples: tuple[Sample, ...]

    def found(self, name: str, **labels: str) -> list[Sample]:
        """Return the samples of a name that have these labels, whatever else they have."""
        return [
            sample
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of those samples; 0 where there are none."""
        return sum(sample.value for sample in self.found(name, **labels))

    def values_of(self, name: str, label: str) -> set[str]:
        """Return the values that a label of a name has."""
        return {sample.labels[label] for sample in self.found(name)}


async def scrape(port: int) -> Scrape:
    """Fetch /metrics as Prometheus does."""
    text = await asyncio.to_thread(_fetched, port)
    return Scrape(text, tuple(_samples(text)))


def _fetched(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        content: bytes = answer.read()
    return content.decode()


def _samples(text: str) -> Iterable[Sample]:
    return (sample for family in text_string_to_metric_families(text) for sample in family.samples)
