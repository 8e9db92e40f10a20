"""Renders the manifests with kustomize, and finds one's way in them."""

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.manifests.tools import ROOT, kustomize

Manifest = dict[str, Any]

SERVICES = ("ingest", "profile", "segment", "recommend", "render")
K8S = ROOT / "k8s"
# Every overlay, and every combination of base and components that an overlay of one's own may make.
TARGETS = {
    "base": ("base", ()),
    "base+keda": ("base", ("keda",)),
    "base+sasl": ("base", ("kafka-sasl",)),
    "base+keda+sasl": ("base", ("keda", "kafka-sasl", "keda-sasl")),
    "dev": ("overlays/dev", ()),
    "dev+keda": ("overlays/dev", ("keda",)),
    "prod": ("overlays/prod", ()),
}
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")


@functools.cache
def render(target: str) -> tuple[Manifest, ...]:
    """All objects of a target, as `kubectl apply` would get them."""
    folder, components = TARGETS[target]
    with tempfile.TemporaryDirectory() as combination:
        kustomization = {
            "resources": [os.path.relpath(K8S / folder, Path(combination).resolve())],
            "components": [
                os.path.relpath(K8S / "components" / name, Path(combination).resolve()) for name in components
            ],
        }
        (Path(combination) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        built = combination if components else str(K8S / folder)
        command = [str(kustomize()), "build", built]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"kustomize build {target} failed:\n{result.stderr}")
    return tuple(yaml.load_all(result.stdout, Loader=yaml.CSafeLoader))


def of_kind(target: str, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in render(target) if manifest["kind"] in kinds]


def name_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


@dataclass(frozen=True)
class Workload:
    """A workload and the pods that it makes."""

    manifest: Manifest
    template: Manifest

    @property
    def name(self) -> str:
        return f"{self.manifest['kind']}/{name_of(self.manifest)}"

    @property
    def pod(self) -> Manifest:
        return dict(self.template["spec"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"]["labels"])

    @property
    def service(self) -> str:
        return self.labels["app.kubernetes.io/name"]

    @property
    def component(self) -> str:
        return self.labels.get("app.kubernetes.io/component", "")

    @property
    def ours(self) -> bool:
        return self.labels.get("app.kubernetes.io/part-of") == "tessera"

    @property
    def containers(self) -> list[Manifest]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]


def workloads(target: str, *kinds: str) -> list[Workload]:
    found = []
    for manifest in of_kind(target, *(kinds or WORKLOADS)):
        outer = manifest["spec"]["jobTemplate"] if manifest["kind"] == "CronJob" else manifest
        found.append(Workload(manifest, outer["spec"]["template"]))
    return found


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def environment_of(target: str, container: Manifest) -> dict[str, str]:
    """A container's variables; a value from a Secret reads as `postgresql://secret`."""
    configs = {name_of(config): config["data"] for config in of_kind(target, "ConfigMap")}
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= configs[source["configMapRef"]["name"]]
    for variable in container.get("env", []):
        variables[variable["name"]] = variable.get("value", "postgresql://secret")
    return variables


def references(workload: Workload, kind: str) -> Iterator[str]:
    """Names of the ConfigMaps (`configMap`) or Secrets (`secret`) that a workload's pods read."""
    for container in workload.containers:
        for source in container.get("envFrom", []):
            if f"{kind}Ref" in source:
                yield source[f"{kind}Ref"]["name"]
        for variable in container.get("env", []):
            if f"{kind}KeyRef" in variable.get("valueFrom", {}):
                yield variable["valueFrom"][f"{kind}KeyRef"]["name"]
    for volume in workload.pod.get("volumes", []):
        if kind in volume:
            yield volume[kind].get("secretName") or volume[kind]["name"]
