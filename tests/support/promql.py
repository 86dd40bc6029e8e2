"""What PromQL expressions ask for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import promql_parser
from promql_parser import AggModifierType, AggregateExpr, MatchOp, VectorSelector

OF_THE_SCRAPE = frozenset({"job", "instance"})
"""Labels that Prometheus adds to each sample of a target."""


@dataclass(frozen=True)
class Selected:
    """A metric that an expression reads, with the values that labels must have or match."""

    name: str
    equal: dict[str, str]
    labels: frozenset[str]


@dataclass(frozen=True)
class Query:
    """An expression, what stands over it, and the labels that are shown of its result."""

    title: str
    expression: str
    shown: frozenset[str]

    def selected(self) -> list[Selected]:
        """Return what is read. Raises ValueError where the expression is not PromQL."""
        return [_selected(node) for node in self._nodes() if isinstance(node, VectorSelector)]

    def grouped(self) -> Iterator[tuple[frozenset[str], list[Selected]]]:
        """Yield the labels that each aggregation keeps, with what it reads."""
        for node in self._nodes():
            if isinstance(node, AggregateExpr) and node.modifier is not None:
                assert node.modifier.type == AggModifierType.By, "without() keeps who knows what"
                below = [_selected(n) for n in _nodes(node.expr) if isinstance(n, VectorSelector)]
                yield frozenset(node.modifier.labels), below

    def _nodes(self) -> list[Any]:
        return _nodes(promql_parser.parse(self.expression))


def dashboard_queries(dashboard: dict[str, Any]) -> Iterator[Query]:
    """Yield what the panels of a Grafana dashboard ask, with its variables filled in."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5m")
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            yield Query(panel["title"], expression, frozenset(shown))


def alert_queries(rules: dict[str, Any]) -> Iterator[Query]:
    """Yield what the alerts of a rule file ask."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            text = " ".join(rule["annotations"].values())
            shown = re.findall(r"\$labels\.(\w+)", text)
            yield Query(rule["alert"], rule["expr"], frozenset(shown))


def _nodes(expression: Any) -> list[Any]:
    found: list[Any] = []
    promql_parser.walk(expression, found.append)
    return found


def _selected(node: VectorSelector) -> Selected:
    matchers: Sequence[Any] = node.matchers.matchers
    assert node.name is not None, "a selector without a name reads everything"
    return Selected(
        node.name,
        {m.name: m.value for m in matchers if m.op == MatchOp.Equal},
        frozenset(m.name for m in matchers),
    )
