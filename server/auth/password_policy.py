"""What a new password must be (NIST SP 800-63B-4, 3.1.1.2; OWASP ASVS 5.0, 6.2).

Length alone is asked for, no composition, and that it is none of those that are tried first. A
password is taken as it is: never trimmed, cut, case-folded or normalised (ASVS 6.2.8).
"""

import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import Final

from server.core.errors import DomainError, FieldViolation

MIN_CHARACTERS: Final = 15
MAX_CHARACTERS: Final = 256
MAX_BYTES: Final = 1024

COMMON_BELOW: Final = 10**9
"""Guesses that must not suffice. Within them come words of the lists that are repeated, or filled
up with digits and signs, and two frequent words; three words that are no phrase do not."""

SERVICE_WORDS: Final = (
    *("interview", "film", "movie", "cinema", "catalogue", "catalog", "rental", "pagila"),
    *("agent", "chat", "viewer", "staff", "admin", "customer"),
)
"""Words that say nothing here: they are what the service is about (ASVS 6.2.11)."""

FAMOUS: Final = frozenset(
    {
        *("correcthorsebatterystaple", "thequickbrownfox", "loremipsumdolorsitamet"),
        *("tobeornottobethatisthequestion", "tobeornottobe", "inthebeginningwastheword"),
        *("itwasthebestoftimes", "callmeishmael", "maytheforcebewithyou", "iamyourfather"),
        *("houstonwehaveaproblem", "openthepodbaydoorshal", "hereslookingatyoukid"),
        *("winteriscoming", "onceuponatimeinhollywood", "happilyeverafter", "alwaysandforever"),
        *("alongnewpassword", "apasswordofmyown", "mysecurepassword", "thisismypassword"),
        *("letmeinletmein", "changemeplease", "pleasechangeme", "nevergonnagiveyouup"),
    }
)
"""Beginnings of what everybody quotes where a long password is asked for, letters alone."""

_SHORTEST_WORD: Final = 3
_LOOKED_AT: Final = 72
"""Characters whose guessability is estimated: the time for it grows with their square."""

_MOST_READINGS: Final = 8
_ADDED_TO_FAMOUS: Final = 8
"""Letters that do not make a quotation a password."""

_SIGNS_FOR_LETTERS: Final = str.maketrans("@({[<!|$+%", "αβγδεζηθικ")


def check_password(password: str, context: Iterable[str] = (), *, field: str = "password") -> None:
    """Hold a new password against the rules. Blocking: up to 0.1 s of work.

    `context` is what an attacker knows of the user, such as address and name; `field` is where
    the password stands in the request.

    Raises:
        DomainError: PASSWORD_POLICY.
    """
    if not password.strip():
        raise against_policy("blank", "must not be blank", field)
    length = f"must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters and at most {MAX_BYTES}"
    if len(password) < MIN_CHARACTERS:
        raise against_policy("too_short", f"{length} bytes of UTF-8", field)
    if len(password) > MAX_CHARACTERS or len(password.encode("utf-8", "replace")) > MAX_BYTES:
        raise against_policy("too_long", f"{length} bytes of UTF-8", field)
    if "\0" in password or not _is_unicode(password):
        raise against_policy("not_text", "must be text without NUL characters", field)
    if is_common(password, context):
        raise against_policy(
            "common",
            "is too easy to guess: choose several words that do not belong together, or let a"
            " password manager make one",
            field,
        )


def against_policy(rule: str, description: str, field: str) -> DomainError:
    """Return the error of a new password that must not be used."""
    return DomainError(
        f"{field}: {description}",
        reason="PASSWORD_POLICY",
        metadata={"rule": rule},
        violations=[FieldViolation(field, description)],
    )


def is_common(password: str, context: Iterable[str] = ()) -> bool:
    """Tell whether a password is among those that are tried first, whatever its case.

    Words of the context and of the service count for nothing: what is left without them must
    still be hard to guess.
    """
    words = sorted({*SERVICE_WORDS, *_words(context)}, key=len, reverse=True)
    folded = password.casefold()
    if _is_famous(folded):
        return True
    left = re.sub("|".join(map(re.escape, words)), "", folded)
    return not left.strip() or _guesses(left) < COMMON_BELOW


def _is_famous(folded: str) -> bool:
    """Tell whether nothing but a few letters, and signs, follow or go before what all quote."""
    letters = "".join(filter(str.isalpha, folded))
    return any(
        phrase in letters and len(letters) - len(phrase) < _ADDED_TO_FAMOUS for phrase in FAMOUS
    )


def _words(context: Iterable[str]) -> Sequence[str]:
    """Return each text of the context, and the words that it has."""
    texts = [text.casefold() for text in context]
    parts = [word for text in texts for word in re.split(r"[\W_]+", text)]
    return [word for word in (*texts, *parts) if len(word) >= _SHORTEST_WORD]


def _guesses(text: str) -> int:
    """Estimate how many guesses find the beginning of a text of at least one character."""
    text = text[:_LOOKED_AT]
    # Imported here, in a thread, at the first password that is set: it has 90 000 words.
    from zxcvbn import matching, scoring  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types; see above

    # Each sign is tried for each letter that it may stand for, and these choices multiply: a text
    # made for it would take seconds. Nobody's first guess has that many signs for letters.
    signs = matching.relevant_l33t_subtable(text, matching.L33T_TABLE)
    if prod(map(len, signs.values())) > _MOST_READINGS:
        text = text.translate(_SIGNS_FOR_LETTERS)
    estimate = scoring.most_guessable_match_sequence(text, matching.omnimatch(text))
    return int(estimate["guesses"])


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
