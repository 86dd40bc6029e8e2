"""`interview films create` and the like: changing, moving and following the catalogue."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from interview_client.cli.app import app
from typer.main import get_command

from tests.support.server_process import ServerProcess
from tests.support.terminal import CTRL_C, Result, Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]


@pytest.fixture(scope="module")
def editor(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """The terminal of the administrator."""
    terminal = Terminal(tmp_path_factory.mktemp("editor"), server.target)
    terminal.sign_in(server.admin)
    return terminal


@pytest.fixture
def film(editor: Terminal) -> Iterator[dict[str, Any]]:
    """A film that is deleted afterwards, as other tests count on those of the sample."""
    made = answer(editor.run("films", "create", "--title", "Mudlark", *ENGLISH, "--json"))
    yield made
    editor.run("films", "delete", made["name"], "--allow-missing")


ENGLISH = ("--language", "English")


def answer(result: Result) -> dict[str, Any]:
    """Return the one object that was written."""
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def error(result: Result, code: int = 1) -> str:
    """Return the one line that says what is wrong."""
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    return line


def test_a_film_is_created_of_options(editor: Terminal) -> None:
    made = answer(
        editor.run(
            *("films", "create", "--title", "Mudlark II", "--language", "english", "--json"),
            *("--category", "Horror", "--category", "categories/14", "--actor", "jeff goldblum"),
            *("--rating", "pg-13", "--length", "96", "--rate", "2.5", "--cost", "12"),
            *("--year", "1999", "--feature", "deleted-scenes", "--streaming"),
            *("--description", "A film about mud."),
        )
    )
    assert editor.run("films", "delete", made["name"]).returncode == 0
    assert made["title"] == "Mudlark II"
    assert made["labels"]["language"] == "English"
    assert set(made["labels"]["categories"]) == {"Horror", "Musical"}
    assert made["labels"]["actors"] == ["Jeff Goldblum"]
    assert (made["rating"], made["lengthMinutes"], made["releaseYear"]) == (
        "FILM_RATING_PG_13",
        96,
        1999,
    )
    assert made["rentalRate"] == {"currencyCode": "USD", "units": "2", "nanos": 500_000_000}
    assert made["replacementCost"] == {"currencyCode": "USD", "units": "12"}
    assert made["specialFeatures"] == ["SPECIAL_FEATURE_DELETED_SCENES"]
    assert (made["streamingAvailable"], made["description"]) == (True, "A film about mud.")


def test_a_film_is_updated_by_options_and_json(editor: Terminal, film: dict[str, Any]) -> None:
    name = film["name"]
    changed = answer(editor.run("films", "update", name, "--year", "1950", "--json"))
    assert (changed["title"], changed["releaseYear"]) == ("Mudlark", 1950)
    text = json.dumps({"title": "The Mudlark", "lengthMinutes": 99})
    changed = answer(editor.run("films", "update", name, "--file", "-", "--json", typed=text))
    assert (changed["title"], changed["releaseYear"], changed["lengthMinutes"]) == (
        "The Mudlark",
        1950,
        99,
    )
    number = name.removeprefix("films/")
    changed = answer(editor.run("films", "update", number, "--clear", "release_year", "--json"))
    assert "releaseYear" not in changed
    assert changed["lengthMinutes"] == 99


def test_who_was_slower_is_told_what_has_changed(editor: Terminal, film: dict[str, Any]) -> None:
    editor.run("films", "update", film["name"], "--year", "1950")
    line = error(
        editor.run("films", "update", film["name"], "--title", "M", "--etag", film["etag"])
    )
    assert "ETAG_MISMATCH" in line
    assert "somebody has set release_year" in line
    assert f"films show {film['name']}" in line


def test_a_deletion_is_taken_back(editor: Terminal, film: dict[str, Any]) -> None:
    name = film["name"]
    assert "deleteTime" in answer(editor.run("films", "delete", name, "--json"))
    line = error(editor.run("films", "update", name, "--title", "M"))
    assert line.endswith(f"(RESOURCE_DELETED); run: interview films undelete {name}")
    assert name in editor.run("films", "list", "--deleted", "--all").stdout
    assert "deleteTime" not in answer(editor.run("films", "undelete", name, "--json"))
    assert "RESOURCE_EXISTS" in error(editor.run("films", "undelete", name))
    assert "RESOURCE_NOT_FOUND" in error(editor.run("films", "delete", "9999999"))
    assert editor.run("films", "delete", "9999999", "--allow-missing").returncode == 0


def test_at_a_terminal_a_deletion_is_asked_about(editor: Terminal, film: dict[str, Any]) -> None:
    with editor.screen("films", "delete", film["name"]) as screen:
        screen.expect(f"delete {film['name']}?")
        screen.type("n\n")
        assert screen.exit_code() == 1
    assert "nothing was changed" in screen.text
    assert "deleteTime" not in answer(editor.run("films", "show", film["name"], "--json"))
    with editor.screen("films", "delete", film["name"], "--yes") as screen:
        assert screen.exit_code() == 0
    assert "deleteTime" in answer(editor.run("films", "show", film["name"], "--json"))


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("create", "--title", "M", "--language", "Klingon"), 1, "there are: "),
        (("create", "--title", "M", *ENGLISH, "--category", "Horor"), 1, "interview categories"),
        (("create", "--title", "M", *ENGLISH, "--actor", "No Body"), 1, "interview actors"),
        (("create", "--title", "", *ENGLISH, "--year", "3000"), 1, "release_year"),
        (("create", "--title", "M", *ENGLISH, "--category", "9999"), 1, "REFERENCE_NOT_FOUND"),
        (("update", "1", "--clear", "name"), 2, "release_year"),
        (
            ("update", "1", "--clear", "release-year", "--year", "2000"),
            2,
            "release_year and --year",
        ),
        (("changes", "abc"), 2, "must be a name like films/17"),
        (("changes", "actors/1"), 2, "must be a name like films/17"),
    ],
)
def test_what_is_wrong_is_told(
    editor: Terminal, arguments: tuple[str, ...], code: int, part: str
) -> None:
    assert part in error(editor.run("films", *arguments), code)


def test_who_may_only_read_is_told_so(reader: Terminal) -> None:
    line = error(reader.run("films", "create", "--title", "M", "--language", "1"))
    assert "PERMISSION_DENIED" in line
    assert "films.write" in line


def test_categories_and_actors_are_changed(editor: Terminal) -> None:
    name = f"Kind {uuid4().hex[:8]}"
    made = editor.run("categories", "create", name)
    assert made.returncode == 0, made.stderr
    assert "RESOURCE_EXISTS" in error(editor.run("categories", "create", name))
    renamed = answer(editor.run("categories", "rename", name.lower(), f"{name}s", "--json"))
    assert renamed["displayName"] == f"{name}s"
    found = editor.run("categories", "--filter", f'display_name = "{name}s"')
    assert found.stdout == f"{renamed['name']}\t{name}s\t0\n"
    used = error(editor.run("categories", "delete", "Horror"))
    assert "RESOURCE_IN_USE" in used
    assert "--force" in used
    assert editor.run("categories", "delete", f"{name}s").stderr == f"deleted {renamed['name']}\n"
    assert "see: interview categories" in error(editor.run("categories", "delete", f"{name}s"))
    again = editor.run("categories", "delete", f"{name}s", "--allow-missing")
    assert (again.returncode, again.stderr) == (0, "deleted nothing\n")

    actor = answer(editor.run("actors", "create", "Ann", name, "--json"))
    renamed = answer(editor.run("actors", "rename", f"ann {name}", "Anna", name, "--json"))
    assert (renamed["name"], renamed["givenName"]) == (actor["name"], "Anna")
    gone = editor.run("actors", "delete", f"Anna {name}")
    assert gone.stderr == f"deleted {actor['name']}\n"


def test_films_are_moved_out_and_in(editor: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "films.jsonl"
    file.write_text("what was there before")
    refused = editor.run("films", "export", str(file), "--filter", "raiting = PG")
    assert "did you mean rating?" in error(refused)
    assert file.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [file]

    done = editor.run("films", "export", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    films = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(films) >= 700
    assert f"wrote {len(films)} films" in done.stderr
    assert list(tmp_path.iterdir()) == [file]
    back = answer(editor.run("films", "import", str(file), "--on-conflict", "update", "--json"))
    # They are what they were, so nothing is changed.
    assert (back["state"], int(back["skippedCount"])) == (
        "FILM_IMPORT_STATE_SUCCEEDED",
        len(films),
    )
    piped = editor.run("films", "export", "-", "--filter", 'title = "Jurassic Park"', "--basic")
    (park,) = [json.loads(line) for line in piped.stdout.splitlines()]
    assert (park["title"], "description" in park) == ("Jurassic Park", False)


def test_a_terminal_shows_how_far_an_export_is(editor: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "films.jsonl"
    with editor.screen("films", "export", str(file), "--basic") as screen:
        assert screen.exit_code() == 0
    count = len(file.read_text().splitlines())
    assert f"{count}/{count} films" in screen.text
    assert f"wrote {count} films" in screen.text


def test_a_bad_line_is_told_by_its_number(editor: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "films.jsonl"
    good = json.dumps({"title": "Mudlark III", "language": "languages/1"})
    bad = json.dumps({"title": "", "language": "languages/1"})
    file.write_text(f"{good}\n\n{bad}\n")
    failed = editor.run("films", "import", str(file))
    assert failed.returncode == 1
    assert "line 3: title: must be set (VALIDATION_FAILED)" in failed.stderr
    assert "state: failed" in failed.stdout
    assert "Mudlark III" not in editor.run("films", "list", "--all").stdout

    whole = editor.run("films", "import", str(file), "--json")
    assert whole.returncode == 1
    (failure,) = json.loads(whole.stdout)["failures"]
    cause, *details = failure["status"]["details"]
    assert (failure["index"], cause["reason"]) == (1, "VALIDATION_FAILED")
    assert "must be set" in json.dumps(details)
    assert "line 3: title: must be set (VALIDATION_FAILED)" in whole.stderr

    rest = editor.run("films", "import", str(file), "--mode", "best-effort", "--validate-only")
    assert rest.returncode == 1
    assert "created: 1\n" in rest.stdout
    assert "failed: 1\n" in rest.stdout
    assert "Mudlark III" not in editor.run("films", "list", "--all").stdout

    broken = editor.run("films", "import", "-", typed=f"{good}\n{{oops\n")
    assert "line 2: not JSON" in error(broken)


def test_an_import_that_failed_goes_on_with_the_mended_file(
    editor: Terminal, tmp_path: Path
) -> None:
    import_id, file = str(uuid4()), tmp_path / "films.jsonl"
    lines = [json.dumps({"title": f"Mudlark {n}", "language": "languages/1"}) for n in range(5)]
    file.write_text("\n".join([*lines[:3], lines[3].replace("languages/1", "languages/999")]))
    command = ("films", "import", str(file), "--import-id", import_id, "--batch-size", "2")
    failed = editor.run(*command)
    assert failed.returncode == 1
    assert "line 4: " in failed.stderr
    assert f"1 batches are stored, go on with: --import-id {import_id}" in failed.stderr
    file.write_text("\n".join(lines))
    done = answer(editor.run(*command, "--json"))
    assert (done["name"], int(done["createdCount"])) == (f"filmImports/{import_id}", 5)
    found = editor.run("films", "list", "--filter", 'title = "Mudlark*"', "--order-by", "title")
    rows = [line.split("\t") for line in found.stdout.splitlines()]
    for name, *_ in rows:
        assert editor.run("films", "delete", name).returncode == 0
    assert [title for _, title, *_ in rows] == [f"Mudlark {n}" for n in range(5)]


@pytest.mark.parametrize(
    "command",
    ["films list", "films list --year 1993", "films changes", "films changes 17", "actors"],
)
@pytest.mark.parametrize(("condition", "place"), [("foo = 1", 0), ("(foo = 1)", 1)])
def test_a_mistake_in_a_filter_is_told_by_its_place(
    editor: Terminal, command: str, condition: str, place: int
) -> None:
    line = error(editor.run(*command.split(), "--filter", condition))
    assert f"at position {place}:" in line


@pytest.mark.parametrize("command", ["films list", "films changes", "categories", "actors"])
def test_the_examples_of_the_help_are_taken(editor: Terminal, command: str) -> None:
    found: Any = get_command(app)
    for word in command.split():
        found = found.commands[word]
    examples = [
        (name, re.search(r"""\bas (["'])(.*)\1\.$""", option.help))
        for option in found.params
        for name in {"--filter", "--order-by"} & set(option.opts)
    ]
    assert len(examples) == 2
    for name, example in examples:
        assert example is not None
        done = editor.run(*command.split(), name, example[2])
        assert done.returncode == 0, done.stderr


def test_a_watch_tells_changes_until_ctrl_c(editor: Terminal, film: dict[str, Any]) -> None:
    with editor.started("films", "watch", "--json", "--kind", "film") as process:
        assert process.stdout is not None
        assert "checkpoint" in json.loads(process.stdout.readline())
        editor.run("films", "update", film["name"], "--year", "1950")
        told = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, notes = process.communicate(timeout=20)
    assert process.returncode == 130
    change = told["change"]
    assert (change["changeType"], change["resourceName"]) == ("CHANGE_TYPE_UPDATED", film["name"])
    assert change["changedFields"] == {"paths": ["release_year"]}
    # From here the next watch goes on.
    assert notes == f"go on with: interview films watch --since {told['cursor']}\n"
    editor.run("films", "update", film["name"], "--year", "1951")
    since = editor.run("films", "watch", "--since", told["cursor"], "--limit", "1")
    assert since.returncode == 0
    revision, _, what, name, title, fields, by = since.stdout.rstrip("\n").split("\t")
    assert (what, name, title, fields) == ("updated", film["name"], "Mudlark", "release_year")
    assert by.startswith("users/")
    listed = editor.run("films", "changes", film["name"], "--limit", "1")
    assert listed.stdout.split("\t")[0] == revision


def test_a_watch_at_a_terminal_is_a_table(editor: Terminal, film: dict[str, Any]) -> None:
    with editor.screen(
        *("films", "watch", "--snapshot", "--kind", "category", "--kind", "film"),
        *("--filter", 'title = "Mudlark"'),
    ) as screen:
        screen.expect("changes follow")
        editor.run("films", "update", film["name"], "--title", "Larkmud")
        screen.expect("Larkmud")
        screen.type(CTRL_C)
        assert screen.exit_code() == 130
    lines = screen.text.splitlines()
    assert lines[0].split() == ["revision", "time", "change", "resource", "called", "fields", "by"]
    there = next(line for line in lines if "Mudlark" in line)
    left = next(line for line in lines if "Larkmud" in line)
    assert there.index("there") == left.index("left") == lines[0].index("change")


def test_a_watch_that_cannot_be_is_told(editor: Terminal) -> None:
    assert "film, category" in error(editor.run("films", "watch", "--kind", "X"), 2)
    line = error(editor.run("films", "watch", "--since", "X"))
    assert "CURSOR_INVALID" in line
