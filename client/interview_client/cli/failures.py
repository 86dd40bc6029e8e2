"""What went wrong, as one line that says what to do, and the exit code that scripts see."""

import math
import unicodedata
from collections.abc import Callable, Mapping

from interview_client.errors import (
    DeadlineExceeded,
    InterviewError,
    LoginFailed,
    Unauthenticated,
    Unavailable,
)

FAILED = 1
USAGE = 2
NOT_SIGNED_IN = 3
INTERRUPTED = 130
"""What shells report for a program that SIGINT ended: 128 + 2."""
READER_GONE = 141
"""What shells report for a program that SIGPIPE ended: 128 + 13."""

Hint = Callable[[InterviewError], str]


class Failure(Exception):
    """The command cannot go on. `str` is one line; `exit_code` is what the program returns."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(one_line(message))
        self.exit_code = exit_code


class ReaderGone(Exception):
    """Nobody reads any more what this program writes, as behind `head`."""


def printable(text: str) -> str:
    """Return the text without control characters, tabs and line ends excepted.

    Texts come from a server; one with escape sequences could rewrite what the terminal shows.
    """
    if text.isprintable():
        return text
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def one_line(text: str) -> str:
    """Return the text on one line."""
    return " ".join(printable(text).split())


def not_signed_in(target: str, why: str = "") -> Failure:
    """Return the failure of whoever has no login session at this server."""
    reason = f": {why}" if why else ""
    return Failure(f"not signed in at {target}{reason}; run: interview login", NOT_SIGNED_IN)


def explained(error: InterviewError, target: str) -> Failure:
    """Return a failed call as a line: what, the reason's name, what to do."""
    if not error.reason and isinstance(error, Unavailable):
        return Failure(_unreachable(error.message, target))
    if not error.reason and isinstance(error, DeadlineExceeded):
        return Failure(f"the server at {target} did not answer in time; try again")
    what = f"{error.message} ({error.reason or error.code.name})"
    if _credentials_refused(error):
        return not_signed_in(target, what)
    advice = _advice(error)
    return Failure(f"{what}; {advice}" if advice else what)


def _unreachable(message: str, target: str) -> str:
    """Return what gRPC's account of failed connections means to a person."""
    if "CERTIFICATE_VERIFY_FAILED: " in message:
        why = message.rpartition("CERTIFICATE_VERIFY_FAILED: ")[2].partition(":")[0]
        return (
            f"the certificate of the server at {target} is not trusted: {why};"
            " login --ca FILE names who signed it"
        )
    if "Hostname Verification" in message:
        return f"the certificate of the server at {target} is for another name"
    if "WRONG_VERSION_NUMBER" in message:
        return f"the server at {target} does not speak TLS; login --no-tls goes without"
    if "Socket closed" in message:
        return (
            f"the server at {target} hangs up: does it want TLS (login --tls), or a certificate"
            " (--cert and --key)?"
        )
    return (
        f"cannot reach the server at {target}: is it running there?"
        " --target HOST:PORT names another"
    )


def _credentials_refused(error: InterviewError) -> bool:
    if isinstance(error, Unauthenticated):
        return not isinstance(error, LoginFailed)
    # Nobody types it: the credentials file has been changed by hand.
    return any(violation.field == "refresh_token" for violation in error.field_violations)


def _advice(error: InterviewError) -> str:
    if error.retry_delay is not None:
        seconds = math.ceil(error.retry_delay.total_seconds())
        # Many texts say it already, but none of them says for how long.
        return f"wait {seconds} s" if "try again" in error.message else f"try again in {seconds} s"
    if hint := _HINTS.get(error.reason):
        return hint(error)
    if error.code.name in {"INTERNAL", "UNKNOWN"} and error.request_id:
        return f"the operator finds it under request {error.request_id}"
    return ""


def _allowed_fields(error: InterviewError) -> str:
    names = error.metadata.get("allowed_fields", "").replace(",", ", ")
    return f"fields: {names}" if names else ""


def _not_found(error: InterviewError) -> str:
    if error.metadata.get("resource_name", "").startswith("films/"):
        return "find films with: interview films search WORDS"
    return ""


def _others_set(error: InterviewError) -> str:
    name = error.metadata.get("resource_name", "")
    fields = error.metadata.get("changed_fields", "").replace(",", ", ")
    what = f"somebody has set {fields}" if fields else ""
    if not name.startswith("films/"):
        return what
    return "; ".join(filter(None, (what, f"see: interview films show {name}")))


def _deleted(error: InterviewError) -> str:
    name = error.metadata.get("resource_name", "")
    return f"run: interview films undelete {name}" if name.startswith("films/") else ""


def _in_use(error: InterviewError) -> str:
    # Copies go with their film, and films lose what they have; a film that is lent out stays.
    forced = error.metadata.get("child_type") in {"InventoryItem", "Film"}
    return "--force does it all the same" if forced else ""


def _violations(error: InterviewError) -> str:
    # The message has the first one.
    rest = error.field_violations[1:]
    return "; ".join(f"{violation.field}: {violation.description}" for violation in rest)


_HINTS: Mapping[str, Hint] = {
    "FILTER_UNKNOWN_FIELD": _allowed_fields,
    "ORDER_BY_INVALID": _allowed_fields,
    "RESOURCE_NOT_FOUND": _not_found,
    "VALIDATION_FAILED": _violations,
    "ETAG_MISMATCH": _others_set,
    "RESOURCE_DELETED": _deleted,
    "RESOURCE_IN_USE": _in_use,
    "RANKING_UNAVAILABLE": lambda _: "search without --meaning",
    "CURSOR_EXPIRED": lambda _: "begin with --snapshot",
    "CURSOR_INVALID": lambda _: "give --since as a watch or an export wrote it",
    "STEP_UP_REQUIRED": lambda _: "run: interview login",
    "SESSION_ATTACHED_ELSEWHERE": lambda _: "another terminal has this chat open",
}
