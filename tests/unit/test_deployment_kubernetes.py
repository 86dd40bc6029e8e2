"""The manifests of deploy/kubernetes are valid, hang together and agree with the program."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no annotations
import pytest

from server.__main__ import main
from server.rpc.lifecycle import CLEANUP_SECONDS
from server.settings import SettingsError, check_listening, load_settings
from tests.support import production
from tests.support.deployment import CLOSING_SECONDS, ROOT, stages
from tests.support.kubernetes import (
    BASE,
    COMPONENTS,
    EXAMPLE,
    FOLDER,
    OVERLAYS,
    Key,
    Manifest,
    base,
    can_render,
    container,
    documents,
    key,
    kustomization,
    patches,
    pod,
    pod_labels,
    probes,
    rendered,
    settings,
)
from tests.support.settings import SECRET_NAMES, SETTING_NAMES, without_settings

VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
"""Of Kubernetes."""
WITHOUT_SCHEMA = {"monitoring.coreos.com/v1", "cert-manager.io/v1"}
"""Of operators, which bring their schemas into the cluster."""
POSTGRES_CONNECTIONS = 100 - 3
"""PostgreSQL's default, without those that it keeps for superusers."""
MIGRATING_CONNECTIONS = 2
OTHERS = 6
"""Connections of a process for its health, for news of changes and for snapshots."""
SERVER = Key("Deployment", "interview-server")
MIGRATION = Key("Job", "interview-migrate")
SECRETS = {
    **production.SECRETS,
    "DATABASE_URL": "postgresql://interview:c0ffee@postgres:5432/interview",
}
needs_kustomize = pytest.mark.skipif(not can_render(), reason="kubectl is not installed")


@pytest.fixture(scope="module")
def objects() -> dict[Key, Manifest]:
    return base()


@pytest.fixture(scope="module", params=OVERLAYS, ids=lambda folder: folder.name)
def applied(request: pytest.FixtureRequest) -> dict[Key, Manifest]:
    return rendered(request.param)


def _folders() -> tuple[Path, ...]:
    return (BASE, *COMPONENTS, *OVERLAYS)


def _validate(manifests: Iterable[Manifest], version: str) -> int:
    known = [one for one in manifests if one["apiVersion"] not in WITHOUT_SCHEMA]
    for manifest in known:
        kubernetes_validate.validate(manifest, version, strict=True)
    return len(known)


@pytest.mark.parametrize("folder", _folders(), ids=lambda folder: folder.name)
def test_each_folder_lists_every_file_that_it_holds(folder: Path) -> None:
    content = kustomization(folder)
    assert content["kind"] == ("Component" if folder in COMPONENTS else "Kustomization")
    listed = set(content.get("resources", ())) | {p["path"] for p in content.get("patches", ())}
    listed |= {
        name for one in content.get("configMapGenerator", ()) for name in one.get("envs", ())
    }
    for name in {*listed, *content.get("components", ())}:
        path = folder / name
        assert path.is_file() or (path / "kustomization.yaml").is_file(), name
    held = {file.name for file in folder.iterdir() if not file.name.endswith(EXAMPLE)}
    assert held == {name for name in listed if "/" not in name} | {"kustomization.yaml"}


def test_every_component_is_used_and_every_overlay_chooses_one_way_to_encrypt() -> None:
    used = {
        overlay.name: {Path(name).name for name in kustomization(overlay)["components"]}
        for overlay in OVERLAYS
    }
    assert set().union(*used.values()) == {component.name for component in COMPONENTS}
    for components in used.values():
        assert len(components & {"tls", "plaintext"}) == 1


def test_what_a_patch_changes_exists(objects: dict[Key, Manifest]) -> None:
    found = [patch for component in COMPONENTS for patch in patches(component)]
    assert found
    for patch in found:
        target = objects[key(patch)]
        assert patch["apiVersion"] == target["apiVersion"]
        assert container(patch)["name"] == container(target)["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid(version: str, objects: dict[Key, Manifest]) -> None:
    examples = [one for file in FOLDER.rglob(f"*{EXAMPLE}") for one in documents(file)]
    assert _validate([*objects.values(), *examples], version) >= len(objects)


def test_a_misspelt_field_is_found(objects: dict[Key, Manifest]) -> None:
    wrong = {**objects[SERVER], "spec": {**objects[SERVER]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        _validate([wrong], VERSIONS[-1])


def test_names_of_settings_are_settings(objects: dict[Key, Manifest]) -> None:
    chosen = settings(*_folders())
    assert chosen.keys() <= SETTING_NAMES
    assert chosen.keys().isdisjoint(SECRET_NAMES | {"DATABASE_URL"})
    for name in (SERVER, MIGRATION):
        variables = container(objects[name])["env"]
        assert {variable["name"] for variable in variables} <= SETTING_NAMES
        assert [one["name"] for one in variables if "value" in one] == []


def test_secrets_come_by_name_from_one_that_is_not_applied(objects: dict[Key, Manifest]) -> None:
    (example,) = documents(BASE / f"secrets{EXAMPLE}")
    assert not [name for name in objects if name.kind == "Secret"]
    for name in (SERVER, MIGRATION):
        for variable in container(objects[name])["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == example["metadata"]["name"]
            assert reference["key"] == variable["name"]
            assert reference["key"] in example["stringData"]
            assert reference.get("optional", False) == (reference["key"] not in SECRETS)


@pytest.mark.parametrize("left_out", SECRETS)
def test_the_example_of_secrets_starts_nothing(
    left_out: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (example,) = documents(BASE / f"secrets{EXAMPLE}")
    filled_in = {**SECRETS, left_out: example["stringData"][left_out]}
    _only(monkeypatch, tmp_path, {**settings(BASE), **filled_in})
    with pytest.raises(SettingsError, match=f"^{left_out}: must "):
        load_settings()


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda folder: folder.name)
def test_settings_of_each_overlay_pass_the_rules_of_production(
    overlay: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    components = [(overlay / name).resolve() for name in kustomization(overlay)["components"]]
    _only(monkeypatch, tmp_path, {**_in_image(), **settings(BASE, *components), **SECRETS})
    chosen = load_settings()
    check_listening(chosen)
    assert chosen.host == "0.0.0.0"
    assert not chosen.reflection_served
    assert chosen.allow_plaintext == (chosen.tls_certificate_file is None)


def test_the_base_alone_opens_no_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _only(monkeypatch, tmp_path, {**_in_image(), **settings(BASE), **SECRETS})
    with pytest.raises(SettingsError, match="would travel in the clear"):
        check_listening(load_settings())


def test_ports_are_those_of_the_settings(objects: dict[Key, Manifest]) -> None:
    chosen = settings(BASE)
    ports = _ports(objects[SERVER])
    assert ports == {"grpc": int(chosen["PORT"]), "metrics": int(chosen["METRICS_PORT"])}
    annotations = objects[SERVER]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == chosen["METRICS_PORT"]
    for _, probe in probes(objects[SERVER]):
        assert probe["grpc"]["port"] == ports["grpc"]
    services = [one for name, one in objects.items() if name.kind == "Service"]
    assert len(services) == 2
    for service in services:
        (port,) = service["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (ports["grpc"], "grpc")
    assert [one["spec"].get("clusterIP") for one in services] == [None, "None"]


def test_probes_restart_on_liveness_and_route_on_readiness(objects: dict[Key, Manifest]) -> None:
    by_grpc = {name: probe["grpc"]["service"] for name, probe in probes(objects[SERVER])}
    (patch,) = patches(FOLDER / "components" / "tls")
    by_program = {name: probe["exec"]["command"] for name, probe in probes(patch)}
    for name, service in by_grpc.items():
        assert by_program[name] == ["interview-server", "healthcheck", f"--service={service}"]
    assert by_grpc["readinessProbe"] == "readiness"
    assert by_grpc["livenessProbe"] == "liveness"


def test_commands_of_containers_exist(
    objects: dict[Key, Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    (patch,) = patches(FOLDER / "components" / "tls")
    commands = [container(objects[name])["args"] for name in (SERVER, MIGRATION)]
    commands += [probe["exec"]["command"][1:] for _, probe in probes(patch)]
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0, command
        assert f"usage: interview-server {command[0]}" in capsys.readouterr().out


def test_a_pod_outlives_its_drain_and_no_pod_leaves_before_another_is_ready(
    objects: dict[Key, Manifest],
) -> None:
    chosen = settings(BASE)
    waiting = float(chosen["DRAIN_DELAY_SECONDS"]) + float(chosen["GRACE_SECONDS"])
    ending = CLEANUP_SECONDS + CLOSING_SECONDS
    assert pod(objects[SERVER])["terminationGracePeriodSeconds"] > waiting + ending
    rolling = objects[SERVER]["spec"]["strategy"]
    assert rolling == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }


def test_selectors_find_the_server_and_never_the_migration(objects: dict[Key, Manifest]) -> None:
    (monitor,) = documents(FOLDER / "components" / "pod-monitor" / "pod-monitor.yaml")
    server = objects[SERVER]
    selectors = [
        server["spec"]["selector"]["matchLabels"],
        monitor["spec"]["selector"]["matchLabels"],
    ]
    selectors += [
        one["spec"]["selector"] for name, one in objects.items() if name.kind == "Service"
    ]
    budget = objects[Key("PodDisruptionBudget", "interview-server")]
    selectors += [budget["spec"]["selector"]["matchLabels"]]
    spread = pod(server)["topologySpreadConstraints"]
    selectors += [one["labelSelector"]["matchLabels"] for one in spread]
    assert len(selectors) == 7
    for selector in selectors:
        assert _selects(selector, pod_labels(server))
        assert not _selects(selector, pod_labels(objects[MIGRATION]))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in _ports(server)


def test_network_rules_cover_every_pod_and_open_what_it_needs(
    objects: dict[Key, Manifest],
) -> None:
    rules = [one["spec"] for name, one in objects.items() if name.kind == "NetworkPolicy"]
    for name, inward, outward in (
        (SERVER, {"grpc", "metrics"}, {53, 5432, 443, 4317}),
        (MIGRATION, set(), {53, 5432}),
    ):
        labels = pod_labels(objects[name])
        (rule,) = [one for one in rules if _selects(one["podSelector"]["matchLabels"], labels)]
        assert rule["policyTypes"] == ["Ingress", "Egress"]
        assert _open(rule["ingress"]) == inward
        assert _open(rule["egress"]) == outward
        assert inward <= set(_ports(objects[name]))


def test_the_autoscaler_moves_the_deployment_within_the_databases_connections(
    objects: dict[Key, Manifest],
) -> None:
    scaler = objects[Key("HorizontalPodAutoscaler", "interview-server")]["spec"]
    target = scaler["scaleTargetRef"]
    assert Key(target["kind"], target["name"]) == SERVER
    assert target["apiVersion"] == objects[SERVER]["apiVersion"]
    assert "replicas" not in objects[SERVER]["spec"]
    assert scaler["minReplicas"] > 1
    surge = objects[SERVER]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    chosen = {name: int(value) for name, value in settings(BASE).items() if value.isdigit()}
    each = chosen["DATABASE_READ_CONNECTIONS"] + chosen["DATABASE_WRITE_CONNECTIONS"] + OTHERS
    pods = scaler["maxReplicas"] + surge
    assert pods * chosen["WORKERS"] * each + MIGRATING_CONNECTIONS <= POSTGRES_CONNECTIONS


@pytest.mark.parametrize("name", [SERVER, MIGRATION], ids=str)
def test_pods_have_no_rights_that_they_do_not_need(name: Key, objects: dict[Key, Manifest]) -> None:
    (user,) = stages((ROOT / "Dockerfile").read_text("utf-8"))[-1].texts("USER")
    specification, only = pod(objects[name]), container(objects[name])
    context = specification["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    account = objects[Key("ServiceAccount", specification["serviceAccountName"])]
    assert account["automountServiceAccountToken"] is False
    assert specification["automountServiceAccountToken"] is False
    assert specification["enableServiceLinks"] is False
    assert {"cpu", "memory"} == only["resources"]["requests"].keys()
    assert "memory" in only["resources"]["limits"]


def test_the_migration_comes_after_what_it_needs_and_before_the_servers(
    objects: dict[Key, Manifest],
) -> None:
    (generator,) = kustomization(BASE)["configMapGenerator"]
    (reference,) = container(objects[MIGRATION])["envFrom"]
    assert reference["configMapRef"]["name"] == generator["name"]
    waves = {name: _wave(one["metadata"]) for name, one in objects.items()}
    needed = [_wave(generator["options"])]
    needed += [waves[name] for name in waves if name.kind in {"ServiceAccount", "NetworkPolicy"}]
    assert max(needed) < waves[MIGRATION] < waves[SERVER]
    assert objects[MIGRATION]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_certificate_is_where_the_settings_say() -> None:
    component = FOLDER / "components" / "tls"
    (patch,) = patches(component)
    (volume,) = pod(patch)["volumes"]
    (mount,) = container(patch)["volumeMounts"]
    (certificate,) = documents(component / f"certificate{EXAMPLE}")
    assert mount["name"] == volume["name"]
    assert "subPath" not in mount, "a file that is mounted alone is never renewed"
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    assert settings(component) == {
        "TLS_CERTIFICATE_FILE": f"{mount['mountPath']}/tls.crt",
        "TLS_PRIVATE_KEY_FILE": f"{mount['mountPath']}/tls.key",
    }


def test_the_signing_keys_are_where_the_settings_say(objects: dict[Key, Manifest]) -> None:
    (volume,) = [one for one in pod(objects[SERVER])["volumes"] if "secret" in one]
    mounts = {mount["name"]: mount for mount in container(objects[SERVER])["volumeMounts"]}
    mount = mounts[volume["name"]]
    assert mount["readOnly"] is True
    assert "subPath" not in mount, "a file that is mounted alone is never renewed"
    # Of the group alone, which the pod has.
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod(objects[SERVER])["securityContext"]["fsGroup"]
    assert settings(BASE)["SIGNING_KEYS_FILE"] == f"{mount['mountPath']}/signing-keys.json"
    handbook = (ROOT / "docs" / "operations.md").read_text("utf-8")
    secret = volume["secret"]["secretName"]
    assert f"create secret generic {secret} --from-file=signing-keys.json" in handbook
    assert "volumes" not in pod(objects[MIGRATION]), "the migration signs nothing"


def test_the_overlays_name_the_image_of_this_version(objects: dict[Key, Manifest]) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    for overlay in OVERLAYS:
        (image,) = kustomization(overlay)["images"]
        assert image["newTag"] == version
        assert {container(objects[name])["image"] for name in (SERVER, MIGRATION)} == {
            image["name"]
        }


@needs_kustomize
def test_what_is_applied_is_valid(applied: dict[Key, Manifest]) -> None:
    assert _validate(applied.values(), VERSIONS[-1]) >= len(base())
    for name, manifest in applied.items():
        assert manifest["metadata"].get("namespace", name.name) == "interview", name
        assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "interview", name


@needs_kustomize
def test_what_is_applied_hangs_together(applied: dict[Key, Manifest]) -> None:
    (config,) = [name for name in applied if name.kind == "ConfigMap"]
    for name in (SERVER, MIGRATION):
        (reference,) = container(applied[name])["envFrom"]
        assert reference["configMapRef"]["name"] == config.name
        assert re.fullmatch(r"[a-z.]+/interview-server:\d\S*", container(applied[name])["image"])
    encrypted = "TLS_CERTIFICATE_FILE" in applied[config]["data"]
    for _, probe in probes(applied[SERVER]):
        assert {"grpc", "exec"} & probe.keys() == {"exec" if encrypted else "grpc"}
    mounts = {mount["name"] for mount in container(applied[SERVER])["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod(applied[SERVER])["volumes"]}
    assert ("tls" in mounts) == encrypted


@needs_kustomize
def test_the_operators_prometheus_gives_the_job_that_alerts_look_for() -> None:
    applied = rendered(FOLDER / "overlays" / "tls")
    monitor = applied[Key("PodMonitor", "interview-server")]
    labels = pod_labels(applied[SERVER])
    assert _selects(monitor["spec"]["selector"]["matchLabels"], labels)
    (scraped,) = [
        one["job_name"]
        for one in documents(ROOT / "deploy" / "prometheus" / "prometheus.yml")[0]["scrape_configs"]
    ]
    assert labels[monitor["spec"]["jobLabel"]] == scraped


def _in_image() -> dict[str, str]:
    variables = stages((ROOT / "Dockerfile").read_text("utf-8"))[-1].environment()
    return {name: value for name, value in variables.items() if name in SETTING_NAMES}


def _ports(manifest: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(manifest).get("ports", ())}


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def _open(rules: list[dict[str, Any]]) -> set[Any]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def _wave(metadata: Mapping[str, Any]) -> int:
    return int(metadata.get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


def _only(monkeypatch: pytest.MonkeyPatch, folder: Path, values: Mapping[str, str]) -> None:
    without_settings(monkeypatch, folder)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
