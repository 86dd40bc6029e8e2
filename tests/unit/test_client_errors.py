"""Errors of the client: their class, and that nothing of the status is lost."""

import json
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from interview_client import (
    FieldViolation,
    Internal,
    InterviewError,
    InvalidArgument,
    LoginFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    ResourceExhausted,
    StreamEnded,
    Unauthenticated,
    Unavailable,
    Unknown,
    ValidationFailed,
    error_of_status,
)
from interview_client.errors import BY_CODE, BY_REASON
from interview_client.messages import (
    ChatResponse,
    ErrorReason,
    FilmImport,
    FrameRejected,
    ImportFailure,
    Status,
    TurnFailed,
)

from tests.support.scripted_server import Context, Script, connected, failing, info, status_of


async def _error(script: Script) -> InterviewError:
    async with connected(script) as client:
        with pytest.raises(InterviewError) as caught:
            await client.catalogue.get_film(1)
    return caught.value


async def test_every_part_of_a_rich_status_arrives() -> None:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field="name", description="is empty"),
        error_details_pb2.BadRequest.FieldViolation(field="view", description="is unknown"),
    ]
    script = Script(
        GetFilm=failing(
            grpc.StatusCode.INVALID_ARGUMENT,
            "VALIDATION_FAILED",
            error_details_pb2.BadRequest(field_violations=violations),
            error_details_pb2.RequestInfo(request_id="r-17"),
        )
    )
    error = await _error(script)
    assert type(error) is ValidationFailed
    assert isinstance(error, InvalidArgument)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "VALIDATION_FAILED"
    assert error.request_id == "r-17"
    assert error.field_violations == (
        FieldViolation("name", "is empty"),
        FieldViolation("view", "is unknown"),
    )
    assert error.retry_delay is None
    assert str(error) == "VALIDATION_FAILED: the script says so (request r-17)"


async def test_how_long_to_wait_arrives_as_a_timedelta() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(milliseconds=1500))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = await _error(Script(GetFilm=failing(code, "RATE_LIMITED", retry)))
    assert type(error) is RateLimited
    assert error.retry_delay == timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.INTERNAL, Internal),
        (grpc.StatusCode.UNKNOWN, Unknown),
    ],
)
async def test_a_reason_of_a_newer_server_has_the_class_of_its_code(
    code: grpc.StatusCode, expected: Any
) -> None:
    error = await _error(Script(GetFilm=failing(code, "NOT_INVENTED_YET")))
    assert type(error) is expected
    assert error.reason == "NOT_INVENTED_YET"


async def test_a_status_without_details_keeps_code_and_text() -> None:
    error = await _error(Script(GetFilm=failing(grpc.StatusCode.NOT_FOUND)))
    assert type(error) is NotFound
    assert (error.reason, error.request_id, error.metadata) == ("", "", {})
    assert error.message == "the script says so"


async def test_details_that_contradict_the_status_are_not_believed() -> None:
    async def lie(request: Any, context: Context) -> Any:
        status = status_of(grpc.StatusCode.NOT_FOUND, "other text")
        trailer = ("grpc-status-details-bin", status.SerializeToString())
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no", (trailer,))

    error = await _error(Script(GetFilm=lie))
    assert type(error) is PermissionDenied
    assert error.message == "no"


async def test_login_with_a_wrong_password_is_its_own_class() -> None:
    script = Script(Login=failing(grpc.StatusCode.UNAUTHENTICATED, "LOGIN_FAILED"))
    async with connected(script) as client:
        with pytest.raises(LoginFailed):
            await client.sign_in("a@b.example", "wrong")
    assert issubclass(LoginFailed, Unauthenticated)


def test_a_status_inside_an_event_becomes_the_same_error() -> None:
    error = error_of_status(Status(code=14, message="the model is away"))
    assert type(error) is Unavailable
    assert error.message == "the model is away"


DETAILS = [
    name
    for name, message in error_details_pb2.DESCRIPTOR.message_types_by_name.items()
    if message.fields
]


@pytest.mark.parametrize("name", DETAILS)
def test_a_status_in_a_message_is_written_as_json(name: str) -> None:
    detail = getattr(error_details_pb2, name)()
    packed = Status.parse(status_of(grpc.StatusCode.ABORTED, "no", detail).SerializeToString())
    (written,) = json.loads(packed.to_json())["details"]
    assert written["@type"] == f"type.googleapis.com/google.rpc.{name}"


def test_what_failed_in_an_import_and_a_chat_is_written_as_json() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="title", description="is empty")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=2))
    sent = status_of(
        grpc.StatusCode.INVALID_ARGUMENT,
        "no title",
        info("VALIDATION_FAILED", field="title"),
        error_details_pb2.BadRequest(field_violations=[violation]),
        retry,
    )
    status = Status.parse(sent.SerializeToString())
    done = FilmImport(failures=[ImportFailure(batch_number=1, index=2, status=status)])
    turn = ChatResponse(turn_failed=TurnFailed(status=status))
    frame = ChatResponse(frame_rejected=FrameRejected(status=status))
    for told in (
        json.loads(done.to_json())["failures"][0]["status"],
        done.to_dict()["failures"][0]["status"],
        json.loads(turn.to_json())["turnFailed"]["status"],
        json.loads(frame.to_json())["frameRejected"]["status"],
    ):
        assert (told["code"], told["message"]) == (3, "no title")
        cause, fields, delay = told["details"]
        assert (cause["reason"], cause["metadata"]) == ("VALIDATION_FAILED", {"field": "title"})
        assert fields["fieldViolations"] == [{"field": "title", "description": "is empty"}]
        assert delay["retryDelay"] == "2s"


def test_the_tables_are_complete_and_name_real_reasons() -> None:
    assert set(BY_CODE) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    published = {str(reason) for reason in ErrorReason}
    assert set(BY_REASON) <= published
    for cls in BY_REASON.values():
        assert issubclass(cls, BY_CODE[cls.default_code])
    assert StreamEnded("over").code is grpc.StatusCode.UNAVAILABLE
