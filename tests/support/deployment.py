"""Reads the Dockerfile, .dockerignore, compose.yaml and .env.example as their tools do.

Only as much of each format as those files use.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
CLOSING_SECONDS = 3.0
"""Flushing logs and closing the database, after the calls have ended."""


class Step(NamedTuple):
    """One instruction of a Dockerfile: its word in capitals, and the rest on one line."""

    word: str
    text: str


@dataclass(slots=True)
class Stage:
    """What follows one FROM."""

    base: str
    steps: list[Step] = field(default_factory=list)

    def texts(self, word: str) -> list[str]:
        """Return the rest of each instruction with this word."""
        return [step.text for step in self.steps if step.word == word]

    def environment(self) -> dict[str, str]:
        """Return what ENV sets, quotes taken off."""
        pairs = re.findall(r'(\w+)=("[^"]*"|\S+)', " ".join(self.texts("ENV")))
        return {name: value.strip('"') for name, value in pairs}

    def from_context(self) -> list[str]:
        """Return the paths that COPY takes from the repository."""
        return [path for step in self.steps for path in context_paths(step)]


def context_paths(step: Step) -> list[str]:
    """Return what a COPY takes from the repository; nothing for other instructions."""
    if step.word != "COPY" or step.text.startswith("--from="):
        return []
    return step.text.split()[:-1]


def stages(dockerfile: str) -> list[Stage]:
    """Return the stages in order."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, text = line.partition(" ")
        if word == "FROM":
            found.append(Stage(base=text.split()[0]))
        else:
            found[-1].steps.append(Step(word, text.strip()))
    return found


class Ignore:
    """The rules of a .dockerignore: the last one that matches a path or a parent decides."""

    def __init__(self, text: str) -> None:
        rules = [line.strip() for line in text.splitlines()]
        self._rules = [
            (re.compile(_expression(rule.removeprefix("!"))), not rule.startswith("!"))
            for rule in rules
            if rule and not rule.startswith("#")
        ]

    def excludes(self, path: str) -> bool:
        """Tell whether a path, relative to the repository, stays out of the build."""
        pure = PurePosixPath(path)
        candidates = [str(pure), *(str(parent) for parent in pure.parents)][:-1]
        excluded = False
        for expression, excludes in self._rules:
            if any(expression.fullmatch(candidate) for candidate in candidates):
                excluded = excludes
        return excluded


def _expression(rule: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", rule.strip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meaning.get(part, re.escape(part)) for part in parts)


_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def variables(text: str) -> set[str]:
    """Return the names that compose fills in."""
    return {match[1] for match in _VARIABLE.finditer(text)}


def compose(text: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return a compose file's content with its variables filled in.

    Raises:
        KeyError: a variable has neither value nor default.
    """

    def value(match: re.Match[str]) -> str:
        name, kind, default = match[1], match[2], match[3]
        return values[name] if name in values or kind != "-" else default

    # Parsed before the values go in: they must not be read as YAML.
    content: dict[str, Any] = _filled(yaml.safe_load(text), value)
    return content


def _filled(node: Any, value: Any) -> Any:
    if isinstance(node, dict):
        return {key: _filled(child, value) for key, child in node.items()}
    if isinstance(node, list):
        return [_filled(child, value) for child in node]
    return _VARIABLE.sub(value, node) if isinstance(node, str) else node


class ExampleLine(NamedTuple):
    """A setting in .env.example: its name, value, and the comment that stands over it."""

    name: str
    value: str
    commented: bool
    meaning: str


def example_lines(text: str) -> Iterator[ExampleLine]:
    """Yield the settings of an example file in order."""
    above = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"(# )?([A-Z][A-Z_]+)=(.*)", line):
            yield ExampleLine(match[2], match[3], bool(match[1]), above.removeprefix("# "))
        above = line


def seconds(duration: str) -> float:
    """Return a compose duration such as `45s` in seconds."""
    return float(duration.removesuffix("s"))


def words(command: Sequence[str] | str) -> list[str]:
    """Return a command in exec form as words, written as JSON or as a YAML list."""
    parsed: list[str] = yaml.safe_load(command) if isinstance(command, str) else list(command)
    return parsed
