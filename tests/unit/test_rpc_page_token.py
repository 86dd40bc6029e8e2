"""Page tokens: sealed, for one method and its arguments, for 72 hours (AIP-158)."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from server.core.errors import DomainError, PageTokenInvalid, PageTokenMismatch
from server.rpc.page_token import PageTokens
from tests.support.auth import MovableClock
from tests.support.running import SECRET

LIST = "/interview.catalogue.v1.CatalogueService/ListFilms"
ARGUMENTS = {"filter": "rating = PG", "order_by": "title", "show_deleted": False}
KEY = ("Zulu", None, 17)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def tokens(clock: MovableClock) -> PageTokens:
    return PageTokens(SECRET, clock, bytes)


def test_a_token_is_the_place_and_the_time_of_the_first_page(
    tokens: PageTokens, clock: MovableClock
) -> None:
    clock.now = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)
    first = tokens.page(LIST, ARGUMENTS, "", size=7, skip=5)
    assert (first.size, first.after, first.skip, first.time) == (7, None, 5, clock.now)
    token = tokens.seal(LIST, ARGUMENTS, KEY, first.time)
    clock.advance(hours=1)
    second = tokens.page(LIST, ARGUMENTS, token, size=3, skip=5)
    assert (second.size, second.after, second.skip, second.time) == (3, KEY, 0, first.time)


def test_a_token_of_an_older_version_has_no_time(tokens: PageTokens) -> None:
    page = tokens.page(LIST, ARGUMENTS, tokens.seal(LIST, ARGUMENTS, KEY), size=1)
    assert (page.after, page.time) == (KEY, None)


def test_the_end_of_a_list_has_no_token(tokens: PageTokens) -> None:
    assert tokens.seal(LIST, ARGUMENTS, None) == ""
    assert tokens.open(LIST, ARGUMENTS, "") is None


def test_no_byte_can_be_altered(tokens: PageTokens) -> None:
    token = tokens.seal(LIST, ARGUMENTS, KEY)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        altered = bytearray(raw)
        altered[place] ^= 1
        text = base64.urlsafe_b64encode(altered).rstrip(b"=").decode()
        with pytest.raises(PageTokenInvalid):
            tokens.open(LIST, ARGUMENTS, text)


@pytest.mark.parametrize("text", ["A", "====", "é", "\0", "A" * 2048, " ", "not a token"])
def test_what_is_no_token_is_refused(tokens: PageTokens, text: str) -> None:
    with pytest.raises(PageTokenInvalid, match="start without a token"):
        tokens.open(LIST, ARGUMENTS, text)


def test_a_token_is_for_one_method_and_one_secret(tokens: PageTokens, clock: MovableClock) -> None:
    token = tokens.seal(LIST, ARGUMENTS, KEY)
    with pytest.raises(PageTokenInvalid):
        tokens.open(LIST.replace("ListFilms", "ListActors"), ARGUMENTS, token)
    with pytest.raises(PageTokenInvalid):
        PageTokens(SECRET[::-1], clock, bytes).open(LIST, ARGUMENTS, token)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"filter": "rating = R"}, "filter"),
        ({"order_by": "title desc"}, "order_by"),
        ({"show_deleted": True}, "show_deleted"),
        ({"order_by": "", "filter": ""}, "filter,order_by"),
        ({"new": 1}, "new"),
    ],
)
def test_a_changed_argument_is_named(
    tokens: PageTokens, changed: dict[str, object], named: str
) -> None:
    token = tokens.seal(LIST, ARGUMENTS, KEY)
    with pytest.raises(PageTokenMismatch) as caught:
        tokens.open(LIST, {**ARGUMENTS, **changed}, token)
    assert caught.value.metadata["changed_fields"] == named


def test_a_token_is_good_for_72_hours(tokens: PageTokens, clock: MovableClock) -> None:
    token = tokens.seal(LIST, ARGUMENTS, KEY, clock.now - timedelta(days=30))
    clock.advance(hours=72)
    assert tokens.open(LIST, ARGUMENTS, token) == KEY
    clock.advance(milliseconds=1)
    with pytest.raises(DomainError) as caught:
        tokens.open(LIST, ARGUMENTS, token)
    assert caught.value.reason == "PAGE_TOKEN_EXPIRED"
