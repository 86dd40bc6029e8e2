"""What a new password must be, and what it need not be."""

import subprocess
import sys
import time
from random import Random

import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]  # it has no types

from server.auth.password_policy import check_password, is_common
from server.core.errors import DomainError

SIGNS = "4@8({[<3691!|70$5+%2"
"""Characters that stand for letters: each doubles the readings of a text."""


def rule_against(password: str, *context: str) -> str:
    """Return the rule that a password breaks; empty where it breaks none."""
    try:
        check_password(password, context)
    except DomainError as error:
        return error.metadata["rule"]
    return ""


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "blank"),
        (" " * 20, "blank"),
        ("\t\n \u3000" * 5, "blank"),
        ("fourteen chars", "too_short"),
        ("🎬" * 14, "too_short"),
        ("correct horse battery " * 12, "too_long"),
        ("correct horse \0 battery", "not_text"),
        ("correct horse \udcff battery", "not_text"),
    ],
)
def test_password_of_the_wrong_form_is_refused_by_its_rule(password: str, rule: str) -> None:
    """ASVS 6.2.1, 6.2.9."""
    assert rule_against(password) == rule


@pytest.mark.parametrize(
    "password",
    [
        *("correcthorsebatterystaple", "Correct Horse Battery Staple!", "The quick brown fox 2026"),
        *("thequickbrownfoxjumps", "a password of my own", "To be or not to be, that is ..."),
    ],
)
def test_what_everybody_quotes_is_common(password: str) -> None:
    """ASVS 6.2.4."""
    assert rule_against(password) == "common"


@pytest.mark.parametrize("password", ["fourteen chars", "correct horse battery " * 12])
def test_length_is_told_in_characters_and_bytes_and_names_the_field(password: str) -> None:
    """ASVS 6.2.1, 6.2.9."""
    with pytest.raises(DomainError) as caught:
        check_password(password, field="new_password")
    told = "must have 15 to 256 characters and at most 1024 bytes of UTF-8"
    assert caught.value.message == f"new_password: {told}"
    assert [(v.field, v.description) for v in caught.value.violations] == [("new_password", told)]


@pytest.mark.parametrize(
    "password",
    [
        "fifteen letter pad",
        "correct horse battery",
        "  leading and trailing blanks  ",
        "grüße aus köln am rhein",
        "пароль без правил вообще",
        "日本語の長い合言葉はここにあるよ",
        "🎬🎭🎪🎨🎬🎤🎧🎼🎹🥁🎷🎺🎸🪕🎻",
        "tab\tand\nnewline are fine",
        "İstanbul'da ılık bir akşam",  # noqa: RUF001  # Turkish
        "".join(Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=15)),
        "".join(Random(2).choices("0123456789", k=20)),
        "".join(Random(3).choices(SIGNS, k=256)),
        "".join(map(chr, Random(4).sample(range(0x10000, 0x20000), 256))),
    ],
)
def test_any_characters_will_do(password: str) -> None:
    """ASVS 6.2.5, 6.2.9: no composition, 256 characters of four bytes."""
    assert rule_against(password) == ""


def test_listed_passwords_that_are_long_enough_are_refused() -> None:
    """ASVS 6.2.4: of the 30 000 most frequent ones."""
    long_enough = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 15]
    assert len(long_enough) > 20
    assert {rule_against(word) for word in long_enough} == {"common"}


@pytest.mark.parametrize(
    "dress",
    [
        lambda word: (word * 15)[: max(15, 2 * len(word))],
        lambda word: word + "123456789012345"[: max(0, 15 - len(word))],
        lambda word: "!!" + word + "!" * (13 - min(13, len(word))),
        lambda word: word.upper() + "." * 12,
        lambda word: f"{word} {word} {word} {word}",
    ],
    ids=["repeated", "counted on", "in signs", "in capitals", "with blanks"],
)
def test_listed_passwords_in_a_simple_dress_are_refused(dress: object) -> None:
    """ASVS 6.2.4: whoever fills a common password up to the length has a common one."""
    words = [word for word in FREQUENCY_LISTS["passwords"][:120] if len(word) >= 4]
    passed = [word for word in words if not is_common(dress(word))]  # type: ignore[operator]  # a lambda
    assert passed == []


@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaaaaaaaaaa",
        "abcdefghijklmnopqrstuvwxyz",
        "1234567890123456",
        "qwertyuiopasdfghjkl",
        "P4$$w0rdP4$$w0rd",
        "PasswordPassword1!",
        "2024-01-01-2024",
        "fifteen letters",
        "Summer2024!!!!!",
        "😀" * 20,
    ],
)
def test_patterns_are_refused(password: str) -> None:
    """ASVS 6.2.4: what everybody thinks of is common, though no list has it."""
    assert rule_against(password) == "common"


@pytest.mark.parametrize(
    "password",
    [
        "Interview-Film-2024",
        "film film film film",
        "Ann.Smith@Example.com",
        "annsmith annsmith",
        "Smith film smith 1!",
        "ÉLODIE élodie ÉLODIE",
        "interview rental chat agent",
    ],
)
def test_words_of_the_context_count_for_nothing(password: str) -> None:
    """ASVS 6.2.11."""
    context = ("ann.smith@example.com", "Élodie Annsmith")
    assert rule_against(password, *context) == "common"


def test_words_of_the_context_may_be_part_of_a_good_password() -> None:
    """ASVS 6.2.11: they count for nothing, and spoil nothing."""
    context = ("ann.smith@example.com", "A B")
    assert rule_against("correct smith battery film staple", *context) == ""
    assert rule_against("a bad abacus bubbles above", *context) == ""


def test_a_password_is_not_looked_at_for_longer_than_its_first_part() -> None:
    assert is_common("password" * 9 + "nobody ever reads this", ())


@pytest.mark.parametrize(
    "password",
    ["x" * 256, SIGNS * 12, "İ" * 256, ("a" * 20 + "b") * 12, "4@(i[3691!70$5+%2x" * 14],
)
def test_no_password_takes_long_to_judge(password: str) -> None:
    """Without bounds, the second of these takes seconds. Measured in processor time."""
    is_common("the lists are loaded first")
    before = time.thread_time()
    is_common(password)
    assert time.thread_time() - before < 0.5


def test_whatever_is_given_has_an_answer() -> None:
    chance = Random(7)
    alphabet = [
        *map(chr, range(0x20, 0x250)),
        *"İıßŉǰΐﬁ①٣๓\u0345\u2028🎬",
        *"0123456789-./ abAB" * 20,
    ]
    for _ in range(150):
        password = "".join(chance.choices(alphabet, k=chance.randint(15, 40)))
        assert rule_against(password, password[:3], password[-20:]) in {"", "common", "blank"}


def test_the_word_lists_are_not_loaded_before_they_are_needed() -> None:
    """They take time, and a server is to start quickly."""
    program = "import sys, server.auth.passwords; print('zxcvbn' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
