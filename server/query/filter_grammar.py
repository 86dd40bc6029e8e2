"""The grammar of filters: the part of AIP-160 that lists take, and its syntax errors.

As in AIP-160, OR binds tighter than AND, and a space between two conditions is an AND that
binds tighter than the written one, so `a b OR c AND d` is `(a AND (b OR c)) AND d`. A
function's name stands directly before its parenthesis: `dinosaur (rating = PG)` is a word
and a condition. Keywords are upper case; in another case the reader refuses them.
"""

from collections.abc import Iterable
from functools import cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from server.core.errors import DomainError
from server.query.filter_errors import filter_syntax, filter_too_complex

MAX_CHARACTERS = 2048
MAX_DEPTH = 16
"""Parentheses that are open at once."""
MAX_COMPARISONS = 32
"""Comparisons, presence tests, functions and bare words."""
MAX_VALUES = 100

_GRAMMAR = r"""
    ?start: conjunction
    ?conjunction: sequence (_AND sequence)*
    ?sequence: disjunction+
    ?disjunction: term (_OR term)*
    ?term: (_NOT | _MINUS) simple           -> negation
         | simple
    ?simple: WORD OPERATOR value            -> comparison
           | WORD                           -> search
           | STRING                         -> search
           | call                           -> condition
           | "(" conjunction ")"            -> composite
    call: FUNCTION "(" (value ("," value)*)? ")"
    ?value: WORD | STRING | call

    _AND.2: /AND(?![^\s()"',:=<>!\\])/
    _OR.2: /OR(?![^\s()"',:=<>!\\])/
    _NOT.3: /NOT(?![^\s()"',:=<>!\\])/
    _MINUS.2: "-"
    OPERATOR: /<=|>=|!=|[=<>:]/
    FUNCTION.2: /(?!(?:and|or|not)\()[a-z_]+(?=\()/i
    STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
    TIMESTAMP: /[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+([Zz]|[+-][0-9:]+)/
    PLAIN: /(?!(?:AND|OR|NOT)(?![^\s()"',:=<>!\\]))[^\s()"',:=<>!\\]+/
    WORD: TIMESTAMP | PLAIN
    %ignore /\s+/
"""

_SHOWN_AS = {
    "WORD": "a word",
    "STRING": "a quoted string",
    "FUNCTION": "a function",
    "OPERATOR": "an operator",
    "COMMA": '","',
    "LPAR": '"("',
    "RPAR": '")"',
    "_AND": "AND",
    "_OR": "OR",
    "_NOT": "NOT",
    "_MINUS": '"-"',
    "$END": "the end",
}


def parse(text: str) -> Tree[Token]:
    """Return the syntax tree of a filter that is not blank, within the limits above.

    Raises:
        DomainError: FILTER_SYNTAX or FILTER_TOO_COMPLEX.
    """
    if len(text) > MAX_CHARACTERS:
        raise filter_too_complex("characters", len(text), MAX_CHARACTERS)
    if "\0" in text:
        raise filter_syntax(text.index("\0"), "\0", "text without NUL")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _syntax_error(error, text) from None
    _check_limits(tree)
    return tree


@cache
def _parser() -> Lark:
    """Build the parser once, when the first filter comes: it takes a while and holds no state."""
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual")


def _syntax_error(error: UnexpectedInput, text: str) -> DomainError:
    if isinstance(error, UnexpectedToken):
        at_end = error.token.type == "$END"
        position = len(text) if at_end else error.token.start_pos or 0
        return filter_syntax(position, "" if at_end else str(error.token), _shown(error.accepts))
    if not isinstance(error, UnexpectedCharacters):
        raise error
    position = error.pos_in_stream or 0
    if error.char in "\"'":
        return filter_syntax(position, text[position:], f"a closing {error.char}")
    return filter_syntax(position, error.char, _shown(error.allowed or ()))


def _shown(terminals: Iterable[str]) -> str:
    return " or ".join(sorted(_SHOWN_AS[name] for name in terminals))


def _check_limits(tree: Tree[Token]) -> None:
    """Count without recursion, so that no depth is too deep to be refused politely."""
    depth = comparisons = values = 0
    waiting: list[tuple[Tree[Token], int]] = [(tree, 0)]
    while waiting:
        node, level = waiting.pop()
        level += node.data == "composite"
        depth = max(depth, level)
        comparisons += node.data in {"comparison", "search", "condition"}
        for child in node.children:
            if isinstance(child, Tree):
                waiting.append((child, level))
            else:
                values += child.type in {"WORD", "STRING"}
        values -= node.data == "comparison"  # its first word names the field, as does that
        values -= node.data == "call" and len(node.children) > 2  # of contains() and in()
    for what, actual, limit in (
        ("depth", depth, MAX_DEPTH),
        ("comparisons", comparisons, MAX_COMPARISONS),
        ("values", values, MAX_VALUES),
    ):
        if actual > limit:
            raise filter_too_complex(what, actual, limit)
