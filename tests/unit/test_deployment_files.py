"""Dockerfile, compose.yaml, .env.example and the hooks agree with the program and the tree.

No container engine runs where this project is tested, so what can drift is held here; the
image's own steps are performed by tests/e2e/test_deployment_tree.py.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.__main__ import main
from server.rpc.lifecycle import CLEANUP_SECONDS
from server.settings import (
    Environment,
    Settings,
    SettingsError,
    check_listening,
    load_settings,
)
from server.settings.telemetry import PRODUCTION_METRICS_PORT
from tests.support import production
from tests.support.deployment import (
    CLOSING_SECONDS,
    ROOT,
    Ignore,
    Stage,
    compose,
    example_lines,
    seconds,
    stages,
    variables,
    words,
)
from tests.support.settings import SECRET_NAMES, SETTING_NAMES, without_settings

BIN = Path(sys.executable).parent
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text("utf-8")
SECRETS = {**production.SECRETS, "POSTGRES_PASSWORD": "c0ffee"}
OURS = ("migrate", "seed", "server")
KEYS = "keys"
"""The service that makes and rotates the signing keys and does nothing else."""


@pytest.fixture
def dockerfile() -> list[Stage]:
    return stages((ROOT / "Dockerfile").read_text("utf-8"))


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose(COMPOSE_TEXT, SECRETS)["services"]
    return found


@pytest.fixture
def ignore() -> Ignore:
    return Ignore((ROOT / ".dockerignore").read_text("utf-8"))


def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run(
        [BIN / "hadolint", "--no-color", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_copied_exists_and_reaches_the_builder(
    dockerfile: list[Stage], ignore: Ignore
) -> None:
    copied = [path for stage in dockerfile for path in stage.from_context()]
    assert {"server", "migrations", "uv.lock"} <= {path.removeprefix("./") for path in copied}
    for path in copied:
        assert (ROOT / path).exists(), path
        assert not ignore.excludes(path), path


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "data/secret-key",
        "data/interview.db",
        ".git/config",
        ".venv/bin/python",
        "server/__pycache__/app.cpython-313.pyc",
        "server/rpc/__pycache__/boundary.cpython-313.pyc",
    ],
)
def test_secrets_and_local_state_do_not_reach_the_builder(path: str, ignore: Ignore) -> None:
    assert ignore.excludes(path)


def test_every_source_file_reaches_the_builder(ignore: Ignore) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "server", "migrations"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(tracked) > 100
    assert [path for path in tracked if ignore.excludes(path)] == []


def test_the_image_runs_as_a_numbered_user_and_without_the_builders_tools(
    dockerfile: list[Stage],
) -> None:
    *_, builder, last = dockerfile
    assert last.texts("USER") == ["10001:10001"]
    assert last.texts("STOPSIGNAL") == ["SIGTERM"]
    assert "uv" in " ".join(builder.texts("RUN"))
    assert "uv" not in " ".join(last.texts("RUN")).split()
    assert last.texts("COPY") == ["--from=builder /app/.venv /app/.venv"]


def test_the_image_installs_the_uv_that_the_lock_names(dockerfile: list[Stage]) -> None:
    with (ROOT / "uv.lock").open("rb") as lock:
        packages = tomllib.load(lock)["package"]
    (locked,) = [package["version"] for package in packages if package["name"] == "uv"]
    installed = re.findall(r"uv==(\S+)", " ".join(dockerfile[-2].texts("RUN")))
    in_makefile = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert installed == in_makefile == [locked]


def test_names_in_the_dockerfile_are_settings(dockerfile: list[Stage]) -> None:
    *_, builder, last = dockerfile
    assert all(name.startswith("UV_") for name in builder.environment())
    of_python = {name for name in last.environment() if re.match(r"PATH$|PYTHON", name)}
    assert last.environment().keys() - of_python <= SETTING_NAMES
    port = Settings.model_fields["port"].default
    assert last.texts("EXPOSE") == [f"{port} {PRODUCTION_METRICS_PORT}"]
    assert f'["{last.environment()["DATA_DIR"]}"]' in last.texts("VOLUME")


def test_names_in_compose_are_settings(services: dict[str, Any]) -> None:
    for name in (*OURS, KEYS):
        assert services[name]["environment"].keys() <= SETTING_NAMES, name
    of_postgres = {"POSTGRES_PASSWORD"}
    assert variables(COMPOSE_TEXT) - of_postgres <= SETTING_NAMES


def test_compose_refuses_to_start_without_its_secrets() -> None:
    for name in SECRETS:
        others = {key: value for key, value in SECRETS.items() if key != name}
        with pytest.raises(KeyError, match=name):
            compose(COMPOSE_TEXT, others)


@pytest.mark.parametrize("name", OURS)
def test_settings_of_each_container_pass_the_rules_of_production(
    name: str,
    services: dict[str, Any],
    dockerfile: list[Stage],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    without_settings(monkeypatch, tmp_path)
    for key, value in {**dockerfile[-1].environment(), **services[name]["environment"]}.items():
        if key != "PATH":
            monkeypatch.setenv(key, str(value))
    settings = load_settings()
    assert settings.environment is Environment.PRODUCTION
    assert settings.host == "0.0.0.0"
    assert (
        settings.effective_database_url
        == "postgresql+asyncpg://interview:c0ffee@postgres:5432/interview"
    )
    assert not settings.reflection or name != "server"
    assert not settings.model_configured
    if name == "server":
        check_listening(settings)


def test_the_image_alone_does_not_speak_in_the_clear(
    dockerfile: list[Stage], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("HOST", dockerfile[-1].environment()["HOST"])
    assert not dockerfile[-1].environment().keys() & {"ALLOW_PLAINTEXT", "TLS_CERTIFICATE_FILE"}
    with pytest.raises(SettingsError, match="ALLOW_PLAINTEXT=true"):
        check_listening(load_settings())


def test_compose_hangs_together(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load(COMPOSE_TEXT)["volumes"]
    for name, service in services.items():
        if "build" in service:
            assert (ROOT / service["build"] / "Dockerfile").is_file()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in volumes
        for other, needed in service.get("depends_on", {}).items():
            assert other in services, name
            if needed["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"]
            else:
                assert needed["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no"


@pytest.mark.parametrize("name", [*OURS, KEYS])
def test_our_containers_have_no_rights_that_they_do_not_need(
    name: str, services: dict[str, Any]
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_every_image_is_of_one_version_and_every_service_tells_its_health(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        built = service["image"] == "interview-server:latest" and service.get("build") == "."
        assert built or re.search(r":v?\d+[\w.-]*$", service["image"]), name
        ends = service.get("restart") == "no"
        assert "test" in service["healthcheck"] or ends, name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # PostgreSQL's image gives up its rights by itself, for which it needs them.
        if name != "postgres":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASSWORD|KEY(?!S_FILE)|TOKEN", variable):
                assert value in {*SECRETS.values(), ""}, (name, variable)


def test_the_signing_keys_are_made_where_the_server_reads_them_and_cannot_write(
    services: dict[str, Any], dockerfile: list[Stage]
) -> None:
    file = services["server"]["environment"]["SIGNING_KEYS_FILE"]
    # The image gives this folder to its user, and a new volume takes that over.
    folder = dockerfile[-1].environment()["DATA_DIR"]
    assert Path(file).parent == Path(folder)
    assert services[KEYS]["environment"] == {"SIGNING_KEYS_FILE": file}
    assert services[KEYS]["network_mode"] == "none"
    assert services[KEYS]["volumes"] == [f"keys:{folder}"]
    assert services["server"]["volumes"] == [f"keys:{folder}:ro"]


def test_the_container_outlives_the_drain(services: dict[str, Any]) -> None:
    fields = Settings.model_fields
    drain = fields["drain_delay_seconds"].default + fields["grace_seconds"].default
    assert seconds(services["server"]["stop_grace_period"]) > (
        drain + CLEANUP_SECONDS + CLOSING_SECONDS
    )


def test_every_command_that_containers_run_exists(
    services: dict[str, Any], dockerfile: list[Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        (program,) = tomllib.load(file)["project"]["scripts"]
    last = dockerfile[-1]
    assert words(last.texts("ENTRYPOINT")[0]) == [program]
    health = words(last.texts("HEALTHCHECK")[0].partition("CMD ")[2])
    assert services["server"]["healthcheck"]["test"] == ["CMD", *health]
    assert health[0] == program
    commands = [words(last.texts("CMD")[0]), health[1:]]
    commands += [words(services[name]["command"]) for name in OURS]
    commands.append([*words(services[KEYS]["entrypoint"])[1:], *words(services[KEYS]["command"])])
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0, command
        assert f"usage: {program} {command[0]}" in capsys.readouterr().out


def test_the_example_names_every_setting_once_and_says_what_it_is() -> None:
    lines = list(example_lines((ROOT / ".env.example").read_text("utf-8")))
    names = [line.name for line in lines]
    assert sorted(names) == sorted({*SETTING_NAMES, "POSTGRES_PASSWORD"})
    assert [line.name for line in lines if not line.meaning.endswith(".")] == []


def test_the_example_holds_the_defaults_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_settings(monkeypatch, tmp_path)
    lines = list(example_lines((ROOT / ".env.example").read_text("utf-8")))
    commented = {line.name for line in lines if line.commented}
    # Where these are not set, what holds depends on the environment, or it is nothing.
    unset = {name.upper() for name, field in Settings.model_fields.items() if field.default is None}
    assert commented == {*SECRET_NAMES, "POSTGRES_PASSWORD", *unset}
    assert [line.name for line in lines if line.commented and line.value] == []
    example = Settings(_env_file=ROOT / ".env.example")
    assert example == Settings(_env_file=None)
    written = {line.name: line.value for line in lines if not line.commented}
    for name, value in example.model_dump(mode="json").items():
        if name.upper() in written:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            assert written[name.upper()] in {shown, shown.removesuffix(".0")}, name


def test_hooks_run_only_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        program, *arguments = hook["entry"].split()
        assert hook["language"] == "system"
        assert program.startswith(".venv/bin/")
        assert (BIN / Path(program).name).exists(), program
        for argument in arguments:
            assert not argument.startswith("protos/") or (ROOT / argument).exists(), argument
