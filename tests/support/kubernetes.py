"""Reads the manifests of deploy/kubernetes, by themselves and as kustomize joins them."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.deployment import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
BASE = FOLDER / "base"
OVERLAYS = tuple(sorted((FOLDER / "overlays").iterdir()))
COMPONENTS = tuple(sorted((FOLDER / "components").iterdir()))
EXAMPLE = ".example.yaml"
"""How the name of a file ends that is to be copied, and is no part of what is applied."""

Manifest = dict[str, Any]


class Key(NamedTuple):
    """What tells one object from another within a namespace."""

    kind: str
    name: str


def key(manifest: Manifest) -> Key:
    """Return a manifest's kind and name."""
    return Key(manifest["kind"], manifest["metadata"]["name"])


def documents(file: Path) -> list[Manifest]:
    """Return a file's manifests in order."""
    return list(yaml.safe_load_all(file.read_text("utf-8")))


def kustomization(folder: Path) -> Manifest:
    """Return what a folder's kustomization.yaml says."""
    (content,) = documents(folder / "kustomization.yaml")
    return content


def base() -> dict[Key, Manifest]:
    """Return the objects that the base lists, without what kustomize adds."""
    listed = [BASE / name for name in kustomization(BASE)["resources"]]
    return {key(manifest): manifest for file in listed for manifest in documents(file)}


def patches(component: Path) -> list[Manifest]:
    """Return a component's changes of objects."""
    listed = kustomization(component).get("patches", ())
    return [manifest for patch in listed for manifest in documents(component / patch["path"])]


def settings(*folders: Path) -> dict[str, str]:
    """Return the settings that kustomizations put together, later ones over earlier ones."""
    found: dict[str, str] = {}
    for folder in folders:
        for generator in kustomization(folder).get("configMapGenerator", ()):
            for name in generator.get("envs", ()):
                found |= _pairs((folder / name).read_text("utf-8").splitlines())
            found |= _pairs(generator.get("literals", ()))
    return found


def _pairs(lines: Any) -> dict[str, str]:
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def can_render() -> bool:
    """Tell whether kustomize is here, as a part of kubectl."""
    return shutil.which("kubectl") is not None


def rendered(folder: Path) -> dict[Key, Manifest]:
    """Return the objects that `kubectl apply -k` would apply.

    Raises:
        AssertionError: kustomize refuses the folder.
    """
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {key(manifest): manifest for manifest in yaml.safe_load_all(done.stdout)}


def pod(manifest: Manifest) -> Manifest:
    """Return the specification of the pods that a Deployment or a Job makes."""
    specification: Manifest = manifest["spec"]["template"]["spec"]
    return specification


def pod_labels(manifest: Manifest) -> Mapping[str, str]:
    """Return the labels of the pods that a Deployment or a Job makes."""
    labels: Mapping[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return labels


def container(manifest: Manifest) -> Manifest:
    """Return the one container of a Deployment's or a Job's pods."""
    (only,) = pod(manifest)["containers"]
    found: Manifest = only
    return found


def probes(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Yield the name and content of each probe."""
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield name, container(manifest)[name]
