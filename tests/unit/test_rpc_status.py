"""The table of statuses: one test per row, and nothing that is not in it gets out."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from server.core.errors import DomainError, FieldViolation, ResourceNotFound, ValidationFailed
from server.generated.interview.errors.v1 import error_reason_pb2
from server.rpc.details import MAX_DETAILS_BYTES, domain_error_of, rich_status
from server.rpc.status import CODES, as_domain_error, code_of

SECRET = "postgresql://admin:hunter2@db.internal/films"
_C = grpc.StatusCode


class _DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"{SECRET} failed")
        self.sqlstate = sqlstate


def _database_error(sqlstate: str, *, lost: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, _DriverError(sqlstate), connection_invalidated=lost)


def test_every_reason_of_the_table_is_in_the_contract() -> None:
    values = error_reason_pb2.ErrorReason.DESCRIPTOR.values
    contract = {value.name.removeprefix("ERROR_REASON_") for value in values}
    assert set(CODES) <= contract
    assert _C.UNKNOWN not in CODES.values()
    assert _C.OK not in CODES.values()


@pytest.mark.parametrize(("reason", "code"), CODES.items())
def test_a_domain_error_gets_the_code_of_its_reason(reason: str, code: grpc.StatusCode) -> None:
    error = as_domain_error(DomainError("a sentence", reason=reason))
    status = rich_status(error, "r1")
    assert code_of(error) is code
    assert status.code == code.value[0]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "interview-api")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_database_error("40001"), "TRANSACTION_CONFLICT"),
        (_database_error("40P01"), "TRANSACTION_CONFLICT"),
        (_database_error("57014"), "DEADLINE_EXCEEDED"),
        (_database_error("55P03"), "DEADLINE_EXCEEDED"),
        (_database_error("57P01"), "DEPENDENCY_UNAVAILABLE"),
        (_database_error("57P03"), "DEPENDENCY_UNAVAILABLE"),
        (_database_error("08003"), "DEPENDENCY_UNAVAILABLE"),
        (_database_error("53300"), "DEPENDENCY_UNAVAILABLE"),
        (_database_error("25006"), "DEPENDENCY_UNAVAILABLE"),
        (_database_error("", lost=True), "DEPENDENCY_UNAVAILABLE"),
        (_database_error("22021"), "VALIDATION_FAILED"),
        (_database_error("22003"), "VALIDATION_FAILED"),
        (_database_error("42P01"), "INTERNAL"),
        (IntegrityError("INSERT", {}, _DriverError("23505")), "INTERNAL"),
        (DBAPIError("x", {}, TimeoutError(SECRET)), "DEADLINE_EXCEEDED"),
        (DBAPIError("x", {}, ConnectionResetError(SECRET)), "DEPENDENCY_UNAVAILABLE"),
        (DBAPIError("x", {}, Exception("database is locked")), "TRANSACTION_CONFLICT"),
        (PoolTimeout(SECRET), "RATE_LIMITED"),
        (ConnectionRefusedError(SECRET), "DEPENDENCY_UNAVAILABLE"),
        (TimeoutError(SECRET), "DEADLINE_EXCEEDED"),
        (RuntimeError(SECRET), "INTERNAL"),
        (asyncio.CancelledError(SECRET), "INTERNAL"),
        (DomainError(SECRET, reason="NOT_IN_THE_TABLE"), "INTERNAL"),
    ],
)
def test_an_error_of_a_driver_tells_what_it_means_and_nothing_else(
    error: BaseException, reason: str
) -> None:
    told = as_domain_error(error)
    assert told.reason == reason
    text = str(rich_status(told, "r1"))
    for leak in ("hunter2", "db.internal", "SELECT", type(error).__name__):
        assert leak not in text


def test_a_thousand_violations_fit_and_the_number_left_out_is_told() -> None:
    violations = [
        FieldViolation(f"names[{n}]", "must be a name like films/17") for n in range(1000)
    ]
    status = rich_status(ValidationFailed(violations), "r1")
    assert status.ByteSize() <= MAX_DETAILS_BYTES
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[2].Unpack(bad)
    kept = len(bad.field_violations)
    assert kept > 10
    assert info.metadata["violation_count"] == "1000"
    assert info.metadata["violations_truncated"] == str(1000 - kept)
    assert bad.field_violations[0].field == "names[0]"


def test_a_message_is_one_line_of_bounded_length() -> None:
    status = rich_status(ResourceNotFound("t", "films/1\r\n\x00" + "x" * 5000), "r1")
    assert "\n" not in status.message
    assert "\x00" not in status.message
    assert len(status.message.encode()) <= 1024


def test_a_status_can_be_turned_back_into_its_error() -> None:
    error = DomainError("the model is away", reason="MODEL_UNAVAILABLE", metadata={"status": "503"})
    again = domain_error_of(rich_status(error, "r1"))
    assert (again.reason, again.message, again.metadata["status"]) == (
        "MODEL_UNAVAILABLE",
        "the model is away",
        "503",
    )
