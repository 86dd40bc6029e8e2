"""What a question asks for, by itself and after the questions before it."""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from server.agent.offline.gazetteer import Gazetteer, Kind, Mention, fold
from server.agent.offline.phrases import Conditions, read_phrases
from server.catalogue.domain import Label

_FILM_WORDS = re.compile(
    r"\b(?:films?|movies?|cinema|watch(?:ing)?|actors?|actress(?:es)?|starring|cast|catalogue|catalog"
    r"|genres?|categor(?:y|ies)|screenplay|running time|documentar(?:y|ies))\b"
)
_CATEGORY_WORDS = re.compile(r"\b(?:genres?|categor(?:y|ies))\b")
_GENERAL = re.compile(
    r"\b(?:weather|joke|capital of|president|recipe|python|javascript|news|who are you|your name"
    r"|hello|hi|hey|thanks|thank you|good (?:morning|evening|day|night)|what can you do|help"
    r"|how are you|meaning of life|yes|no|ok|okay|bye|goodbye)\b"
)
_TASK = re.compile(
    r"^\s*(?:please\s+)?(?:write|compose|translate|calculate|explain|summari[sz]e)\b"
)
_ASKS_FOR_FILMS = re.compile(
    r"^\s*(?:(?:can|could) you\s+|please\s+)?(?:show|list|find|search|look for|recommend|suggest"
    r"|any(?:thing)?|something|got any|do you have|are there|is there|give me|i want|i d like)\b"
)
_QUESTION_START = re.compile(
    r"^\s*(?:what|why|how|who|whom|whose|when|where|which|is|are|do|does|did|can|could|will|would"
    r"|should|tell|i|my|you)\b"
)
_CONTINUES = re.compile(
    r"^\s*(?:and|what about|how about|only|just|also|but|or|now|then|same|ok(?:ay)? and)\b"
)
_MORE = re.compile(
    r"^\s*(?:show me |any |some )?more(?: of them| films| movies| please)?\s*[?.!]*$"
)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_ORDINAL = re.compile(
    rf"\b(?:the\s+)?(?:({'|'.join(_ORDINALS)})\b(?!\s+(?:films|movies))|(\d)(?:st|nd|rd|th)\b"
    r"|(?:number|no\.?|#)\s*(\d{1,2}))(?:\s+(?:one|film|movie))?"
)
_SUPERLATIVE = re.compile(r"\b(?:shortest|longest|newest|latest|oldest|earliest)\b((?:\s\w+){0,3})")
_PLURAL = re.compile(r"\b(?!is\b|was\b|this\b)\w+s\b")
_SIMILAR = re.compile(r"\b(?:films?|movies?|something|anything|more|one) (?:like|similar to)\b")
_PRONOUN = re.compile(r"\b(?:it|its|it s|(?:that|this|the) (?:one|film|movie))\b")
_ASPECTS = {
    "minutes": r"how long|running time|length|\blonger\b|\bshorter\b|\bminutes\b|\bhours?\b",
    "actors": r"\bwho\b|\bcast\b|\bactors?\b|actress|\bstars?\b|starring|\bplays? in\b",
    "language": r"\blanguage\b",
    "rating": r"\brat(?:ed|ing)\b",
    "year": r"\byear\b|\bwhen\b|\breleased?\b|how old",
    "categories": r"\bgenre\b|\bcategory\b|what kind",
}
_WORD = re.compile(r"[^\W_]+")
_STOP_WORDS = frozenset(
    _WORD.findall(
        """
        a about acted actor actors actress acts after all also am an and another any
        anything appear appears are as at available be been before best between but by
        called came can catalog catalogue categories category cinema come comes compare
        comparison contain contains could d describe detail details did do does during enjoy
        ever every exist exists favorite favourite feature features featuring film films
        find first for from genre genres get give good got great had has have hey hi hour
        hours how i im in info information into is it its just kind know language languages
        let lets like list ll long longer look looking love m made many maximum maybe me
        minimum minute minutes more most movie movies much my named need newer nice no now
        of offer older on one only or our out over play playing plays please plot rated
        rating re recommend release released running s same search see set shorter should
        show since some something sort star starring stars stored stories story suggest t
        tell than that the their them then there these they think this those time title
        titled titles to today tonight too total type types under until up us ve versus very
        vs want was watch watching we were what when where which who whole whose will with
        work works would year years you your
        """
    )
)


class Want(StrEnum):
    """What kind of answer is asked for."""

    FILMS = "films"
    COUNT = "count"
    CATEGORIES = "categories"


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the planner needs it. `refers` is the place in an earlier list, from 1;
    -1 is its last, 0 none."""

    text: str
    want: Want = Want.FILMS
    titles: tuple[Label, ...] = ()
    conditions: Conditions = field(default_factory=dict)
    sort: str = ""
    limit: int = 0
    words: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()
    refers: int = 0
    similar: bool = False
    about_films: bool = False
    continues: bool = False

    def after(self, previous: "Question") -> "Question":
        """Return the question with what it leaves unsaid taken from the one before."""
        if _MORE.match(fold(self.text)):
            limit = min(25, (previous.limit or 10) + 10)
            return replace(previous, text=self.text, want=Want.FILMS, limit=limit)
        if not self.continues or self.titles or self.refers:
            return self
        kept = dict(previous.conditions)
        for group in (("year", "year_from", "year_to"), ("min_minutes", "max_minutes")):
            if any(key in self.conditions for key in group):
                kept = {key: value for key, value in kept.items() if key not in group}
        return replace(
            self,
            want=previous.want if self.want is Want.FILMS else self.want,
            conditions=kept | self.conditions,
            sort=self.sort or previous.sort,
            limit=self.limit or previous.limit,
            words=self.words or previous.words,
            about_films=True,
        )


def read_question(text: str, gazetteer: Gazetteer) -> Question:
    """Return what a message asks for, taken by itself."""
    mentions, without_names = gazetteer.find(text)
    lower = fold(without_names).replace("\u2019", "'")
    phrases = read_phrases(lower)
    conditions = _named(mentions) | phrases.conditions
    titles = tuple(dict.fromkeys(m.label for m in mentions if m.kind is Kind.TITLE))
    plain = " ".join(_WORD.findall(fold(text)))
    refers = 0 if titles else _reference(plain)
    rest = _ORDINAL.sub(" ", phrases.rest) if refers else phrases.rest
    words = tuple(word for word in _WORD.findall(rest) if word not in _STOP_WORDS)
    question = Question(
        text=text,
        want=_want(plain, mentions, counts=phrases.counts),
        titles=titles,
        conditions=conditions,
        sort=phrases.sort,
        limit=phrases.limit or _one_if_singular(plain),
        words=words,
        aspects=tuple(name for name, form in _ASPECTS.items() if re.search(form, plain)),
        refers=refers,
        similar=bool(titles and _SIMILAR.search(plain)),
    )
    about = _is_about_films(question, mentions, plain)
    return replace(
        question, about_films=about, continues=_continues(question, plain, counts=phrases.counts)
    )


def asks_for_more(text: str) -> bool:
    """Whether a message only asks for more of the same."""
    return bool(_MORE.match(fold(text)))


def refers_back(question: Question) -> bool:
    """Whether the question is about a film that the last answer named."""
    if question.titles or question.conditions or question.sort:
        return False
    plain = " ".join(_WORD.findall(fold(question.text)))
    return bool(_PRONOUN.search(plain)) and not question.words


def _continues(question: Question, plain: str, *, counts: bool) -> bool:
    """Whether a message adds to the question before: `and from the 90s?`, `under two hours`.

    Without a linking word it must name nothing of its own that films could be looked up by.
    """
    if _CONTINUES.match(plain):
        return not _GENERAL.search(plain)
    if _FILM_WORDS.search(plain) or question.conditions.keys() & {"category", "actor"}:
        return False
    if counts:
        return not question.words
    opens_anew = _QUESTION_START.match(plain) or _ASKS_FOR_FILMS.match(plain)
    return not opens_anew and bool(question.conditions or question.sort)


def _named(mentions: list[Mention]) -> Conditions:
    named: Conditions = {}
    for mention in mentions:
        if mention.kind is not Kind.TITLE:
            named.setdefault(mention.kind.value, mention.label.text.strip())
    return named


def _want(plain: str, mentions: list[Mention], *, counts: bool) -> Want:
    named = {mention.kind for mention in mentions}
    if _CATEGORY_WORDS.search(plain) and not named & {Kind.CATEGORY, Kind.TITLE, Kind.ACTOR}:
        return Want.CATEGORIES
    return Want.COUNT if counts else Want.FILMS


def _one_if_singular(plain: str) -> int:
    """Return 1 for `the shortest comedy`, 0 for `the shortest comedies`."""
    found = _SUPERLATIVE.search(plain)
    return int(found is not None and not _PLURAL.search(found[1]))


def _reference(plain: str) -> int:
    found = _ORDINAL.search(plain)
    if found is None:
        return 0
    return _ORDINALS[found[1]] if found[1] else int(found[2] or found[3])


def _is_about_films(question: Question, mentions: list[Mention], plain: str) -> bool:
    kinds = {mention.kind for mention in mentions}
    if Kind.TITLE in kinds:
        return True
    if _TASK.match(plain):
        return False
    if Kind.ACTOR in kinds or _FILM_WORDS.search(plain):
        return True
    if _GENERAL.search(plain):
        return False
    if _ASKS_FOR_FILMS.match(plain):
        return bool(question.words or question.conditions or question.sort)
    short = len(question.words) <= 3 and bool(question.words or question.conditions)
    telling = question.conditions.keys() & {"rating", "min_minutes", "max_minutes"}
    return short and (bool(telling) or not _QUESTION_START.match(plain))
