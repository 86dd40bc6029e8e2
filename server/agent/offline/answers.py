"""Puts what the tools found into words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.agent.offline.question import Question, Want

_MAX_CATEGORIES_SHOWN = 50
_MAX_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What one tool returned: its data, or `error` with a sentence."""

    tool: str
    data: Mapping[str, Any]


def compose(question: Question, findings: Sequence[Finding]) -> str:
    """Return the answer to a question from what the tools returned."""
    if question.similar and "films" in findings[-1].data:
        return _similar(findings[0].data["film"], findings[-1].data["films"])
    films = [finding.data["film"] for finding in findings if "film" in finding.data]
    errors = [str(finding.data["error"]) for finding in findings if "error" in finding.data]
    if films:
        return "\n\n".join([_about_films(question, films), *map(_sorry, errors)])
    if errors:
        return _sorry(errors[0])
    data = findings[0].data
    if "categories" in data:
        return _categories(question, data["categories"])
    return _film_list(question, data)


def _sorry(error: str) -> str:
    return f"I could not look that up: {error}."


def _about_films(question: Question, films: Sequence[Mapping[str, Any]]) -> str:
    if len(films) == 1:
        aspects = [_ASPECT_SENTENCES[name](films[0]) for name in question.aspects]
        return " ".join(aspects) if aspects else _card(films[0])
    return "\n".join([*(_line(i, film) for i, film in enumerate(films, 1)), *_compared(films)])


def _similar(film: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    rest = [other for other in others if other["name"] != film["name"]]
    if not rest:
        return f"There is no other film of the category of {_titled(film)}."
    head = f"Of the same category as {_titled(film)}:"
    return "\n".join([head, *(_line(number, other) for number, other in enumerate(rest, 1))])


def _card(film: Mapping[str, Any]) -> str:
    parts = [
        f"{_titled(film)}{_facts(film)}.",
        str(film.get("description", "")),
        f"Language: {film['language']}." if film.get("language") else "",
        f"With {_joined(film['actors'])}." if film.get("actors") else "",
    ]
    return "\n".join(part for part in parts if part)


def _line(number: int, film: Mapping[str, Any]) -> str:
    return f"{number}. {_titled(film)}{_facts(film)}"


def _titled(film: Mapping[str, Any]) -> str:
    year = film.get("year")
    return f"{film['title']} ({year})" if year else str(film["title"])


def _facts(film: Mapping[str, Any]) -> str:
    facts = [
        ", ".join(film.get("categories", ())),
        f"rated {film['rating']}" if film.get("rating") else "",
        f"{film['minutes']} min" if film.get("minutes") else "",
    ]
    return "".join(f", {fact}" for fact in facts if fact)


def _compared(films: Sequence[Mapping[str, Any]]) -> list[str]:
    timed = [film for film in films if film.get("minutes")]
    if len(timed) < 2:
        return []
    longest = max(timed, key=lambda film: int(film["minutes"]))
    shortest = min(timed, key=lambda film: int(film["minutes"]))
    if longest["minutes"] == shortest["minutes"]:
        return [f"They run equally long: {longest['minutes']} minutes."]
    most, least = longest["minutes"], shortest["minutes"]
    first = f"{longest['title']} is longest with {most} minutes"
    return [f"{first}, {shortest['title']} shortest with {least}."]


_ASPECT_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "minutes": lambda film: (
        f"{_titled(film)} runs {film['minutes']} minutes."
        if film.get("minutes")
        else f"The catalogue does not say how long {_titled(film)} is."
    ),
    "actors": lambda film: (
        f"{_titled(film)} is played by {_joined(film['actors'])}."
        if film.get("actors")
        else f"The catalogue names no actors of {_titled(film)}."
    ),
    "language": lambda film: f"{_titled(film)} is in {film.get('language', 'no known language')}.",
    "rating": lambda film: f"{_titled(film)} is rated {film.get('rating', 'nothing yet')}.",
    "year": lambda film: (
        f"{film['title']} is from {film['year']}."
        if film.get("year")
        else f"The catalogue does not say when {film['title']} was released."
    ),
    "categories": lambda film: (
        f"{_titled(film)} belongs to {_joined(film.get('categories') or ['no category'])}."
    ),
}


def _film_list(question: Question, data: Mapping[str, Any]) -> str:
    films = data.get("films", [])
    total = int(data.get("total", len(films)))
    described = _described(question)
    if not films:
        return f"No film in the catalogue matches{described}. Try fewer conditions or other words."
    if question.want is Want.COUNT:
        noun, verb = ("film", "matches") if total == 1 else ("films", "match")
        head = f"{total} {noun} {verb}{described or ' (the whole catalogue)'}, for example:"
        films = films[:_MAX_EXAMPLES]
    elif question.sort and question.limit == 1:
        return f"The {question.sort} film{described} is {_titled(films[0])}{_facts(films[0])}."
    elif total > len(films) or data.get("more"):
        all_ = f" of {total}" if total > len(films) else ""
        head = f"Here are {len(films)}{all_} films{described}:"
    else:
        head = f"Found {total} film{'' if total == 1 else 's'}{described}:"
    return "\n".join([head, *(_line(number, film) for number, film in enumerate(films, 1))])


def _described(question: Question) -> str:
    """Return the conditions in words: ` (category Horror, from 1990)`."""
    words = {
        "category": "category {}",
        "actor": "with {}",
        "language": "in {}",
        "rating": "rated {}",
        "year": "from {}",
        "year_from": "since {}",
        "year_to": "until {}",
        "min_minutes": "at least {} min",
        "max_minutes": "at most {} min",
    }
    parts = [
        form.format(question.conditions[key])
        for key, form in words.items()
        if key in question.conditions
    ]
    if question.words and question.want is not Want.COUNT and not question.sort:
        parts.insert(0, f"about {' '.join(question.words)}")
    return f" ({', '.join(parts)})" if parts else ""


def _categories(question: Question, rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "The catalogue has no categories yet."
    by_size = sorted(rows, key=lambda row: -int(row["films"]))
    text = question.text.casefold()
    if "most" in text or "biggest" in text or "largest" in text:
        return f"{by_size[0]['category']} has the most films: {by_size[0]['films']}."
    if "fewest" in text or "least" in text or "smallest" in text:
        return f"{by_size[-1]['category']} has the fewest films: {by_size[-1]['films']}."
    names = ", ".join(f"{r['category']} ({r['films']})" for r in rows[:_MAX_CATEGORIES_SHOWN])
    return f"The catalogue has {len(rows)} categories, with so many films each: {names}."


def _joined(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
