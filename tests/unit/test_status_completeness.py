"""Every reason that can leave the server has a test that comes to it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from server.generated.interview.errors.v1 import error_reason_pb2
from server.rpc.status import CODES
from tests.support.statuses import contract

TESTS = sorted((Path(__file__).parents[1] / "integration").glob("test_status_*.py"))
HANDBOOK = Path(__file__).parents[2] / "docs/operations.md"
CHECKS = {"row", "check_call", "check_row", "_in_event", "_rejected", "_asked"}
"""Functions that hold a status against the contract; the reason is one of their arguments."""


def _reasons(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for argument in node.args if node.func.id in CHECKS else ():
                if isinstance(argument, ast.Constant) and argument.value in CODES:
                    yield str(argument.value)


def test_every_reason_has_its_row() -> None:
    proved = {reason for file in TESTS for reason in _reasons(file)}
    assert proved == set(CODES)


def test_every_reason_is_documented_with_the_code_that_it_has() -> None:
    assert {reason: contract()[reason].code for reason in CODES} == {
        reason: code.name for reason, code in CODES.items()
    }


def test_the_contract_is_read_whole() -> None:
    values = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    names = {name.removeprefix("ERROR_REASON_") for name in values} - {"UNSPECIFIED"}
    assert set(contract()) == names


def test_no_code_is_unknown() -> None:
    assert not {code.name for code in CODES.values()} & {"OK", "UNKNOWN", "CANCELLED", "DATA_LOSS"}


def test_the_handbook_says_what_to_do_about_each() -> None:
    text = HANDBOOK.read_text("utf-8").partition("\n## Errors\n")[2].partition("\n## ")[0]
    told: dict[str, str] = {}
    code = ""
    for line in text.splitlines():
        if line.startswith("| ") and "`" in line:
            first, reasons, _ = (cell.strip() for cell in line.strip("|").split("|"))
            code = first.strip("`") or code
            told |= dict.fromkeys(re.findall(r"`(\w+)`", reasons), code)
    assert told == {reason: code.name for reason, code in CODES.items()}
