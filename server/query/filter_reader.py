"""From the syntax tree of a filter to conditions whose fields and values are checked."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast, get_args

from lark import Token, Tree

from server.query.filter_errors import (
    filter_keyword,
    filter_not_text,
    filter_syntax,
    filter_type_mismatch,
    filter_unknown_field,
)
from server.query.filter_types import (
    And,
    Comparison,
    Contains,
    FieldKind,
    Fields,
    FieldSpec,
    Filter,
    Has,
    In,
    Not,
    Operator,
    Or,
    Pattern,
    Presence,
    Search,
    Value,
)
from server.query.filter_values import (
    WILDCARD,
    literal_text,
    quoted_text,
    to_duration,
    to_pattern,
    to_value,
    word_text,
)

_ORDERED = frozenset(
    {FieldKind.STRING, FieldKind.NUMBER, FieldKind.MONEY, FieldKind.TIMESTAMP, FieldKind.YEAR}
)
_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_Node = Tree[Token] | Token


class FilterReader:
    """Reads syntax trees, whose depth the grammar has limited."""

    def __init__(
        self, fields: Fields, now: datetime | None, terms: Callable[[str], Sequence[str]]
    ) -> None:
        self._fields = fields
        self._now = now
        self._terms = terms
        self._conditions: dict[str, Callable[[Token, list[_Node]], Filter]] = {
            "contains": self._contains,
            "in": self._in,
            "search": self._search_call,
        }

    def condition(self, tree: Tree[Token]) -> Filter:
        """Return the filter, or raise DomainError with the place of the first mistake."""
        parts = tree.children
        match tree.data:
            case "conjunction" | "sequence" | "disjunction":
                joined = tuple(self.condition(_tree(part)) for part in parts)
                return Or(joined) if tree.data == "disjunction" else And(joined)
            case "negation":
                return Not(self.condition(_tree(parts[0])))
            case "composite":
                return self.condition(_tree(parts[0]))
            case "comparison":
                return self._comparison(_token(parts[0]), _token(parts[1]), parts[2])
            case "search":
                return self._search(_token(parts[0]))
            case _:
                return self._function(_tree(parts[0]))

    def _comparison(self, name: Token, operator: Token, value: _Node) -> Filter:
        spec = self._field(name)
        if operator == ":" and value == "*" and _token(value).type == "WORD":
            return Presence(str(name))
        allowed = _operators(spec)
        if operator not in allowed:
            raise filter_syntax(_position(operator), str(operator), _listed([*allowed, ":*"]))
        if spec.repeated:
            return Has(str(name), self._value(str(name), spec, value))
        known = cast("Operator", str(operator))
        pattern = self._pattern(spec, known, value)
        right = self._value(str(name), spec, value) if pattern is None else pattern
        return Comparison(str(name), known, right, _position(name))

    def _pattern(self, spec: FieldSpec, operator: Operator, value: _Node) -> Pattern | None:
        if spec.kind is not FieldKind.STRING or operator != "=" or isinstance(value, Tree):
            return None
        try:
            return to_pattern(_text(value))
        except ValueError:
            expected = r'"*" only as the first or last character, or escaped as "\*"'
            raise filter_syntax(_position(value), str(value), expected) from None

    def _value(self, name: str, spec: FieldSpec, node: _Node) -> Value:
        if isinstance(node, Tree):
            return self._moment(name, spec, node)
        text = _text(node)
        if spec.kind is FieldKind.STRING and WILDCARD in text:
            expected = r'a text without "*", which goes with = only; the character is "\*"'
            raise filter_syntax(_position(node), str(node), expected)
        try:
            return to_value(literal_text(text), spec)
        except ValueError:
            raise filter_type_mismatch(name, _position(node), spec) from None

    def _moment(self, name: str, spec: FieldSpec, call: Tree[Token]) -> datetime:
        function, *arguments = call.children
        function = _token(function)
        if function not in {"now", "ago"} or self._now is None:
            raise filter_syntax(_position(function), str(function), "a value")
        if spec.kind is not FieldKind.TIMESTAMP:
            raise filter_type_mismatch(name, _position(function), spec)
        if function == "now":
            if arguments:
                raise filter_syntax(_position(arguments[0]), _shown(arguments[0]), "now()")
            return self._now
        if len(arguments) != 1 or isinstance(arguments[0], Tree):
            raise filter_syntax(_position(function), str(function), 'ago("168h")')
        try:
            return self._now - to_duration(literal_text(_text(arguments[0])))
        except (ValueError, OverflowError):
            expected = 'a duration such as "168h", "1h30m" or "20s"'
            raise filter_syntax(_position(arguments[0]), str(arguments[0]), expected) from None

    def _search(self, text: Token) -> Search:
        terms = self._terms(literal_text(_text(text)))
        searchable = any(spec.text_searchable for spec in self._fields.values())
        if not searchable or not terms:
            expected = "at least one word" if searchable else "a comparison or a function"
            raise filter_syntax(_position(text), str(text), expected)
        return Search(tuple(terms))

    def _function(self, call: Tree[Token]) -> Filter:
        function, *arguments = call.children
        name = _token(function)
        reader = self._conditions.get(name)
        if reader is None:
            raise filter_syntax(_position(name), str(name), _listed([*self._conditions]))
        return reader(name, arguments)

    def _contains(self, function: Token, arguments: list[_Node]) -> Filter:
        if len(arguments) != 2 or any(isinstance(argument, Tree) for argument in arguments):
            raise filter_syntax(_position(function), str(function), 'contains(field, "text")')
        name = _token(arguments[0])
        if self._field(name).kind is not FieldKind.STRING:
            raise filter_not_text(str(name), _position(name))
        return Contains(str(name), literal_text(_text(_token(arguments[1]))))

    def _in(self, function: Token, arguments: list[_Node]) -> Filter:
        if len(arguments) < 2 or isinstance(arguments[0], Tree):
            raise filter_syntax(_position(function), str(function), "in(field, value, ...)")
        name = arguments[0]
        spec = self._field(name)
        return In(str(name), tuple(self._value(str(name), spec, one) for one in arguments[1:]))

    def _search_call(self, function: Token, arguments: list[_Node]) -> Filter:
        if len(arguments) != 1 or isinstance(arguments[0], Tree):
            raise filter_syntax(_position(function), str(function), 'search("text")')
        return self._search(arguments[0])

    def _field(self, name: Token) -> FieldSpec:
        spec = self._fields.get(name)
        if name.type != "WORD" or spec is None or not spec.filterable:
            raise filter_unknown_field(str(name), _position(name), self._fields)
        return spec


def _operators(spec: FieldSpec) -> list[str]:
    if spec.repeated:
        return [":"]
    return [*get_args(Operator)] if spec.kind in _ORDERED else ["=", "!="]


def _listed(words: list[str]) -> str:
    return " or ".join(words)


def _text(token: Token) -> str:
    if token.type == "STRING":
        return quoted_text(token, _position(token))
    if token.upper() in _KEYWORDS:
        raise filter_keyword(_position(token), str(token))
    return word_text(token)


def _position(node: _Node) -> int:
    return (_token(node.children[0]) if isinstance(node, Tree) else node).start_pos or 0


def _shown(node: _Node) -> str:
    return str(node.children[0] if isinstance(node, Tree) else node)


def _tree(node: _Node) -> Tree[Token]:
    # The grammar fixes where trees and where words stand; the casts tell the type checker.
    return cast("Tree[Token]", node)


def _token(node: _Node) -> Token:
    return cast("Token", node)
