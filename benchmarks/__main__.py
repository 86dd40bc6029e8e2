"""`python -m benchmarks [WHAT]`: measure, print, fail on a wrong answer."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import generate, growth, model, overload, relevance, tokens
from benchmarks.databases import execute, fresh_postgres
from benchmarks.processes import (
    EMAIL,
    PASSWORD,
    Child,
    RunFailed,
    environment,
    modules_after,
    prepare,
    running_module,
    running_server,
)
from benchmarks.report import ChatFigures, Report, StartFigures
from benchmarks.rounds import Bench, Figures, Plan
from benchmarks.scenarios import scenarios
from server.catalogue.sample import read_sample_films
from tests.support.postgres import PostgresUnavailable

FULL = Plan(pairs=5, seconds=0.6, turns=15)
QUICK = Plan(pairs=2, seconds=0.08, turns=3)
WHAT = ("calls", "overload", "relevance", "growth", "generate", "tokens")
HEAVY = ("sqlalchemy", "semantic_kernel")
WARM_TURNS = 3


def main() -> int:
    """Return 0 for a run whose every answer was right."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; rougher")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="only this one")
    parser.add_argument("what", nargs="?", choices=WHAT, default=WHAT[0])
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="overload: a setting of one more server, to compare with; can be repeated",
    )
    parser.add_argument("--target", metavar="HOST:PORT", help="relevance: a server that runs")
    parser.add_argument("--films", type=_sizes, metavar="N[,N...]", help="growth, generate")
    parser.add_argument("--postgres", metavar="URL", help="growth: make the databases there")
    parser.add_argument("--url", help="generate: a migrated database without films")
    options = parser.parse_args()
    if options.what == "generate" and not (options.url and options.films):
        parser.error("generate needs --url and --films")
    try:
        _measure(options)
    except (RunFailed, PostgresUnavailable) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _measure(options: argparse.Namespace) -> None:
    databases = [options.database] if options.database else ["sqlite", "postgresql"]
    match options.what:
        case "tokens":
            print(tokens.run())
        case "generate":
            generate.generate(options.url, options.films[0])
        case "overload":
            extra = dict(pair.split("=", 1) for pair in options.set)
            overload.run(overload.QUICK if options.quick else overload.FULL, extra, options.json)
        case "growth":
            growth.postgres_given(options.postgres)
            growth.run(options.films or growth.SIZES, databases, options.json)
        case "relevance":
            relevance.run(options.database or "sqlite", options.target, options.json)
        case _:
            report = _run(QUICK if options.quick else FULL, databases)
            print(report.text())
            if options.json:
                report.write_json(options.json)


def _sizes(text: str) -> list[int]:
    return [int(size.replace("_", "")) for size in text.split(",")]


def _run(plan: Plan, databases: list[str]) -> Report:
    calls: list[Figures] = []
    starts: list[StartFigures] = []
    chat: ChatFigures | None = None
    with ExitStack() as stack:
        load = stack.enter_context(running_module("benchmarks.load"))
        echo = stack.enter_context(running_module("benchmarks.echo"))
        scripted = stack.enter_context(running_module("benchmarks.model"))
        echo_target = f"127.0.0.1:{echo.read()['port']}"
        model_url = scripted.read()["base_url"]
        for database in databases:
            with _served(database, model_url, load, echo, echo_target) as bench:
                served = bench.served
                starts.append(StartFigures(database, served.cpu_catalogue, served.cpu_agents))
                for scenario in scenarios(read_sample_films()):
                    calls += bench.measure(scenario, plan)
                chat = chat or _chat(bench, scripted, plan.turns)
    assert chat is not None, "there is at least one database"
    imports = {
        command: modules_after(arguments, HEAVY)
        for command, arguments in {
            "--help": ["--help"],
            "healthcheck": ["healthcheck", "--address", "127.0.0.1:1"],
        }.items()
    }
    return Report(calls, starts, imports, chat)


@contextmanager
def _served(
    database: str, model_url: str, load: Child, echo: Child, echo_target: str
) -> Iterator[Bench]:
    """Run the server over the sample films on a fresh database, with a signed-in caller."""
    with tempfile.TemporaryDirectory(prefix="interview-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        settings = {"OPENAI_BASE_URL": model_url, "OPENAI_API_KEY": "sk-for-a-scripted-model"}
        if database == "postgresql":
            settings["DATABASE_URL"] = stack.enter_context(fresh_postgres())
        env = environment(folder, **settings)
        prepare(env, folder)
        if database == "postgresql":
            # What autovacuum does within a minute; until then the planner guesses, badly.
            asyncio.run(execute(settings["DATABASE_URL"], "ANALYZE"))
        served = stack.enter_context(running_server(env, folder))
        load.ask("login", target=served.target, echo=echo_target, email=EMAIL, password=PASSWORD)
        yield Bench(load, echo, echo_target, served, database)


def _chat(bench: Bench, scripted: Child, turns: int) -> ChatFigures:
    """Measure turns of one agent that answers at once, without tools and handoff."""
    costs, delays = [], []
    for number in range(WARM_TURNS + turns):
        before = bench.served.cpu()
        told = bench.load.ask("turns", target=bench.served.target, turns=1, expected=model.TEXT)
        if number >= WARM_TURNS:
            costs.append(bench.served.cpu() - before)
        sent = scripted.read()["answered_at"]
        if number >= WARM_TURNS:
            delays.append(told["first_tokens"][0] - sent)
    return ChatFigures(model.TOKENS, turns, sum(costs) / turns * 1e3, median(delays) * 1e3)


if __name__ == "__main__":
    sys.exit(main())
