"""A release as a deployment performs it: migrate, serve, ask for health, stop."""

import asyncio
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import kubernetes
from tests.support.production import plain_url, production
from tests.support.program import command, end_of, run, server
from tests.support.server_process import PROGRAM

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DRAIN = {"DRAIN_DELAY_SECONDS": "0", "GRACE_SECONDS": "2"}
AT_ONCE = 4
NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:9/none"
VERSIONS = ("v1", "v1alpha")
"""Of reflection."""
# Each once: what both databases do alike is in tests/integration/test_database_versions.py.
PROFILES = [("embedded", "sqlite"), ("production", "postgresql")]


def _production(folder: Path, url: str) -> dict[str, str]:
    return {**production(folder, url), **DRAIN}


def test_a_release_goes_from_an_empty_database_to_an_orderly_end(
    postgresql_url: str, tmp_path: Path
) -> None:
    settings = _production(tmp_path, postgresql_url)
    early = run(tmp_path, "serve", **settings)
    assert (early.code, early.err.count("\n")) == (1, 1)
    assert "run `interview-server migrate` first" in early.err
    migrated = run(tmp_path, "migrate", **settings)
    assert migrated.code == 0
    assert re.fullmatch(r"schema: empty -> \d{4}\S*\n", migrated.out)
    with server(tmp_path, **settings) as serving:
        serving.logged("agents ready")
        for probe in _probes():
            asked = run(tmp_path, *probe, f"--address={serving.target}")
            assert asked.code == 0, (probe, asked.err)
        _tells_nothing_of_itself(serving.target)
        assert serving.stop() == 0
        assert serving.logged("stopped")
    assert run(tmp_path, "healthcheck", f"--address={serving.target}").code == 1
    assert not (tmp_path / "data").exists(), "in production nothing is written"


def _tells_nothing_of_itself(target: str) -> None:
    listed = _listed(target)
    assert listed.returncode != 0
    assert "does not support the reflection API" in listed.stderr
    for version in VERSIONS:
        assert _reflected(target, version) == ["UNIMPLEMENTED"]


def test_reflection_answers_in_production_where_it_is_asked_for(tmp_path: Path) -> None:
    settings = {**_production(tmp_path, f"sqlite:///{tmp_path / 'films.db'}"), "REFLECTION": "true"}
    assert run(tmp_path, "migrate", **settings).code == 0
    with server(tmp_path, **settings) as serving:
        listed = _listed(serving.target)
        assert "interview.catalogue.v1.CatalogueService" in listed.stdout.splitlines()
        for version in VERSIONS:
            assert "interview.auth.v1.AuthService" in _reflected(serving.target, version)
        assert serving.stop() == 0


def _probes() -> list[list[str]]:
    """Return the arguments with which the cluster's probes call the program."""
    (patch,) = kubernetes.patches(kubernetes.FOLDER / "components" / "tls")
    return [probe["exec"]["command"][1:] for _, probe in kubernetes.probes(patch)]


@pytest.mark.parametrize(
    ("command_name", "name"),
    [
        ("serve", "SECRET_KEY"),
        ("serve", "PASSWORD_PEPPER"),
        ("serve", "SIGNING_KEYS_FILE"),
        ("serve", "DATABASE_URL"),
        ("migrate", "SECRET_KEY"),
    ],
)
def test_production_needs_its_secrets(command_name: str, name: str, tmp_path: Path) -> None:
    settings = {**_production(tmp_path, NOWHERE), name: ""}
    done = run(tmp_path, command_name, **settings)
    assert done.code == 1
    assert re.fullmatch(rf"error: {name}: must be set in production.*\n", done.err)


def _listed(target: str) -> "subprocess.CompletedProcess[str]":
    """Ask for the services as a person does."""
    return subprocess.run(
        [PROGRAM.with_name("grpcurl"), "-plaintext", target, "list"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _reflected(target: str, version: str) -> list[str]:
    """Return the services that a version of reflection lists, or its status."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(target) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        try:
            (answer,) = call(iter([request]), timeout=60)
        except grpc.RpcError as error:
            return [error.code().name]
    return [service.name for service in answer.list_services_response.service]


def test_four_migrations_at_once_all_succeed(empty_database_url: str, tmp_path: Path) -> None:
    settings = _production(tmp_path, empty_database_url)
    started = [command(tmp_path, "migrate", **settings) for _ in range(AT_ONCE)]
    ended = [end_of(process) for process in started]
    assert [one.code for one in ended] == [0] * AT_ONCE, ended
    assert [one.err for one in ended] == [""] * AT_ONCE
    (head,) = {one.out.split()[-1] for one in ended}
    assert re.fullmatch(r"\d{4}\S*", head)


def test_four_embedded_servers_start_at_once_on_one_database(
    postgresql_url: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": plain_url(postgresql_url), **DRAIN}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server(tmp_path, str(number), **settings))
            for number in range(AT_ONCE)
        ]
        assert len({serving.target for serving in servers}) == AT_ONCE
        assert [serving.is_ready() for serving in servers] == [True] * AT_ONCE
        assert [serving.stop() for serving in servers] == [0] * AT_ONCE


@pytest.mark.parametrize(("profile", "database_url"), PROFILES, indirect=["database_url"])
async def test_a_server_that_is_restarted_in_an_upgrade_serves_the_schema_that_names_it(
    profile: str, database_url: str, tmp_path: Path
) -> None:
    await _execute(database_url, _AT.format(revision="9000_from_0003"))
    settings = _of(profile, tmp_path, database_url)
    with server(tmp_path, **settings) as serving:
        line = await asyncio.to_thread(serving.logged, "schema verified")
        assert line["revision"] == "9000_from_0003"
        assert await asyncio.to_thread(serving.is_ready)
        assert await asyncio.to_thread(serving.stop) == 0
    migrated = await asyncio.to_thread(run, tmp_path, "migrate", **settings)
    assert migrated.out == "schema: 9000_from_0003 -> 9000_from_0003\n"


_AT = "UPDATE alembic_version SET version_num = '{revision}'"


@pytest.mark.parametrize(("profile", "database_url"), PROFILES, indirect=["database_url"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_AT.format(revision="9000"), "revision '9000' of a later version"),
        (_AT.format(revision="5f3c2a"), "revision '5f3c2a', which is none of this program's"),
        ("DELETE FROM alembic_version", "holds tables (actor, "),
    ],
)
async def test_no_server_starts_on_a_schema_that_it_does_not_know(
    profile: str, change: str, said: str, database_url: str, tmp_path: Path
) -> None:
    await _execute(database_url, change)
    done = await asyncio.to_thread(run, tmp_path, "serve", **_of(profile, tmp_path, database_url))
    assert done.code == 1
    assert done.err.startswith("error: the database ")
    assert said in done.err
    assert done.err.count("\n") == 1


def _of(profile: str, folder: Path, url: str) -> dict[str, str]:
    return {**_production(folder, url), "ENVIRONMENT": profile}


async def _execute(url: str, statement: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
