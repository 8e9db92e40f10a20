"""Every overlay and combination of components is valid for Kubernetes, and keeps our own rules."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.settings import ServiceSettings
from tests.manifests.rendering import (
    K8S,
    SERVICES,
    TARGETS,
    Workload,
    environment_of,
    name_of,
    of_kind,
    references,
    render,
    selects,
    workloads,
)
from tests.manifests.tools import script

# The first test of a fresh machine builds kustomize.
pytestmark = [pytest.mark.timeout(900), pytest.mark.parametrize("target", TARGETS)]

# The oldest release that we support, and one that is current.
KUBERNETES = ("1.32.0", "1.36.0")
ROLES = {
    "ingest": {"serve"},
    "profile": {"serve", "consume", "relay"},
    "segment": {"serve", "consume", "relay"},
    "recommend": {"serve", "consume", "relay"},
    "render": {"serve", "consume", "relay"},
}
CALLS = {
    "ingest": set[str](),
    "profile": set[str](),
    "segment": {"profile"},
    "recommend": {"profile"},
    "render": {"profile", "segment", "recommend"},
}
READS = {
    "profile": {"ingest.events", "ingest.imports"},
    "segment": {"profile.updates"},
    "recommend": {"profile.updates"},
    "render": {"segment.transitions"},
}
# Settings that single services add to the shared ones.
OWN_SETTINGS = {
    "HTTP_ADDRESS": {"ingest"},
    "UNSUBSCRIBE_KEYS": {"ingest", "render"},
    "PUBLIC_URL": {"render"},
} | {
    f"{callee.upper()}_ADDRESS": {caller for caller, callees in CALLS.items() if callee in callees}
    for callee in SERVICES
}
TRIGGER_KEYS = {
    "bootstrapServers",
    "consumerGroup",
    "topic",
    "lagThreshold",
    "offsetResetPolicy",
    "limitToPartitionsWithLag",
}


def ours(target: str, *kinds: str) -> list[Workload]:
    return [workload for workload in workloads(target, *kinds) if workload.ours]


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(target: str, version: str, tmp_path: Path) -> None:
    known = [manifest for manifest in render(target) if not manifest["apiVersion"].startswith("keda.sh/")]
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.dump_all(known, Dumper=yaml.CSafeDumper))
    command = [str(script("kubernetes-validate")), "--strict", "-k", version, str(rendered)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert len(known) >= 50
    # An object whose schema is not found is a warning, not a failure.
    assert "WARN" not in result.stdout + result.stderr
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_role_of_every_service_is_a_workload_of_its_own(target: str) -> None:
    roles: dict[str, set[str]] = {service: set() for service in SERVICES}
    for deployment in ours(target, "Deployment"):
        roles[deployment.service].add(deployment.component)
        (container,) = deployment.containers

        assert ["--role", deployment.component] == container["args"]
    migrated = {
        job.service for job in ours(target, "Job") if job.containers[0]["args"] == ["--role", "migrate"]
    }

    assert roles == ROLES
    assert set(SERVICES) == migrated


def test_every_pod_is_restricted(target: str) -> None:
    for workload in workloads(target):
        context = workload.pod["securityContext"]

        assert context["runAsNonRoot"], workload.name
        assert context["runAsUser"] > 0, workload.name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, workload.name
        assert workload.pod["automountServiceAccountToken"] is False, workload.name
        assert workload.pod["enableServiceLinks"] is False, workload.name
        assert workload.pod["terminationGracePeriodSeconds"] == 30, workload.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & workload.pod.keys(), workload.name
        assert not [volume for volume in workload.pod.get("volumes", []) if "hostPath" in volume], (
            workload.name
        )
        for container in workload.containers:
            expected = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }

            assert expected == container["securityContext"], workload.name


def test_every_container_says_what_it_needs_and_at_most_gets(target: str) -> None:
    for workload in workloads(target):
        for container in workload.containers:
            resources = container["resources"]

            assert {"cpu", "memory"} == resources["requests"].keys(), workload.name
            assert {"cpu", "memory"} == resources["limits"].keys(), workload.name


def test_every_image_has_a_version(target: str) -> None:
    for workload in workloads(target):
        for container in workload.containers:
            assert re.fullmatch(r"[a-z0-9./_-]+:v?\d[\w.-]*", container["image"]), container["image"]


def test_every_process_is_probed_by_its_health_service(target: str) -> None:
    for deployment in ours(target, "Deployment"):
        (container,) = deployment.containers
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        asked = {kind: container[f"{kind}Probe"]["grpc"] for kind in ("startup", "readiness", "liveness")}
        variables = environment_of(target, container)

        assert asked["startup"] == {"port": 50051, "service": "liveness"}, deployment.name
        assert asked["readiness"] == {"port": 50051, "service": "readiness"}, deployment.name
        assert asked["liveness"] == {"port": 50051, "service": "liveness"}, deployment.name
        assert {"grpc": 50051, "metrics": 9090}.items() <= ports.items(), deployment.name
        assert variables["GRPC_ADDRESS"] == "0.0.0.0:50051", deployment.name
        assert variables["METRICS_ADDRESS"] == "0.0.0.0:9090", deployment.name
        assert ("http" in ports) == ("HTTP_ADDRESS" in variables), deployment.name


def test_every_variable_is_a_setting_that_its_service_knows(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {name.upper() for name in ServiceSettings.model_fields}
    for workload in ours(target):
        variables = environment_of(target, workload.containers[0])
        own = {name for name, services in OWN_SETTINGS.items() if workload.service in services}

        assert variables.keys() <= shared | own, workload.name

        # Values are checked by the class that reads them, which also refuses names under its own prefix.
        settings: Any = type(
            "Settings", (ServiceSettings,), {"service": workload.service, "__module__": __name__}
        )
        with monkeypatch.context() as environment:
            # What a pod has mounted is not here.
            environment.setattr("libs.settings.os.access", lambda path, mode: str(path).startswith("/etc/"))
            environment.setattr(ServiceSettings, "kafka_password_now", lambda self: "secret")
            for name, value in variables.items():
                environment.setenv(name, value)

            assert settings().database_url, workload.name


def test_every_caller_knows_the_address_of_those_it_calls(target: str) -> None:
    for deployment in ours(target, "Deployment"):
        variables = environment_of(target, deployment.containers[0])
        addresses = {f"{callee}:50051" for callee in CALLS[deployment.service]}

        names = {name for name in OWN_SETTINGS if name.endswith("_ADDRESS") and name != "HTTP_ADDRESS"}
        assert addresses == {variables[name] for name in names if name in variables}
        if addresses and deployment.component != "relay":
            assert "SERVICE_API_KEY" in variables, deployment.name


def test_the_pods_find_their_configuration_their_secrets_and_their_account(target: str) -> None:
    configs, secrets = ({name_of(m) for m in of_kind(target, kind)} for kind in ("ConfigMap", "Secret"))
    accounts = {name_of(account) for account in of_kind(target, "ServiceAccount")}
    # Given where they are not made: the guide for operators must name them.
    guide = (K8S / "README.md").read_text()
    for workload in workloads(target):
        assert set(references(workload, "configMap")) <= configs, workload.name
        assert workload.pod["serviceAccountName"] in accounts, workload.name
        for secret in set(references(workload, "secret")):
            assert secret in secrets if secrets else f"`{secret}`" in guide, workload.name


def _replicas(target: str, name: str) -> int:
    for scaler in of_kind(target, "HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"].get("minReplicas") or scaler["spec"]["minReplicaCount"])
    (deployment,) = (d for d in of_kind(target, "Deployment") if name_of(d) == name)
    return int(deployment["spec"]["replicas"])


def test_every_workload_of_several_replicas_survives_a_drained_node(target: str) -> None:
    for deployment in workloads(target, "Deployment"):
        budgets = [
            budget
            for budget in of_kind(target, "PodDisruptionBudget")
            if selects(budget["spec"]["selector"], deployment.labels)
        ]
        spread = {constraint["topologyKey"] for constraint in deployment.pod["topologySpreadConstraints"]}

        if _replicas(target, name_of(deployment.manifest)) > 1:
            assert len(budgets) == 1, deployment.name
        # At most one gone, rather than one left, so that a single replica can be moved too.
        assert [1] * len(budgets) == [budget["spec"]["maxUnavailable"] for budget in budgets]
        assert {"topology.kubernetes.io/zone", "kubernetes.io/hostname"} == spread, deployment.name


def test_outside_of_development_two_of_everything_run(target: str) -> None:
    least = {name_of(d.manifest): _replicas(target, name_of(d.manifest)) for d in ours(target, "Deployment")}

    assert min(least.values()) >= 2 or target.startswith("dev"), least


def test_one_scaler_and_nobody_else_sets_a_number_of_replicas(target: str) -> None:
    deployments = {name_of(deployment): deployment for deployment in of_kind(target, "Deployment")}
    scalers = of_kind(target, "HorizontalPodAutoscaler", "ScaledObject")
    scaled = [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers]

    assert len(scaled) == len(set(scaled))
    assert set(scaled) <= deployments.keys()
    assert {f"{service}-serve" for service in SERVICES} <= set(scaled)
    for name, deployment in deployments.items():
        assert (name in scaled) == ("replicas" not in deployment["spec"]), name


def test_consumers_scale_by_the_lag_of_what_they_read(target: str) -> None:
    scaled = of_kind(target, "ScaledObject")
    (config,) = (m["data"] for m in of_kind(target, "ConfigMap") if "EVENT_LOG_URL" in m["data"])

    assert bool(scaled) == ("keda" in target or target == "prod")
    for scaler in scaled:
        service = name_of(scaler).removesuffix("-consume")
        spec = scaler["spec"]
        triggers = [trigger["metadata"] for trigger in spec["triggers"]]

        assert scaler["apiVersion"] == "keda.sh/v1alpha1"
        assert f"{service}-consume" == spec["scaleTargetRef"]["name"]
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= 64
        assert {"kafka"} == {trigger["type"] for trigger in spec["triggers"]}
        assert {f"tessera.{topic}" for topic in READS[service]} == {t["topic"] for t in triggers}
        for trigger in triggers:
            assert trigger.keys() - {"sasl", "tls"} == TRIGGER_KEYS
            assert {str} == {type(value) for value in trigger.values()}
            assert f"tessera.{service}" == trigger["consumerGroup"]
            assert config["EVENT_LOG_URL"] == f"kafka://{trigger['bootstrapServers']}"
            assert int(trigger["lagThreshold"]) > 0
    assert not scaled or READS.keys() == {name_of(scaler).removesuffix("-consume") for scaler in scaled}


def test_who_kafka_asks_for_a_user_has_one(target: str) -> None:
    (config,) = (m["data"] for m in of_kind(target, "ConfigMap") if "EVENT_LOG_URL" in m["data"])
    asked = config.get("KAFKA_SECURITY_PROTOCOL") == "SASL_SSL"

    assert asked == ("sasl" in target)
    for workload in ours(target):
        (container,) = workload.containers
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert asked == ("KAFKA_USERNAME" in environment_of(target, container)), workload.name
        assert asked == ("kafka" in mounted), workload.name
        if asked:
            for name in ("KAFKA_CA_FILE", "KAFKA_PASSWORD_FILE"):
                assert mounted["kafka"] == str(Path(config[name]).parent)
    for scaler in of_kind(target, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            told = trigger["metadata"].get("sasl"), trigger["metadata"].get("tls")
            assert (("scram_sha512", "enable") if asked else (None, None)) == told
            assert asked == ("authenticationRef" in trigger)
    assert asked * bool(of_kind(target, "ScaledObject")) == len(of_kind(target, "TriggerAuthentication"))


def _peers(rules: list[dict[str, Any]], side: str) -> set[str]:
    selectors = [peer.get("podSelector", {}) for rule in rules for peer in rule[side]]
    return {s["matchLabels"]["app.kubernetes.io/name"] for s in selectors if s} & set(SERVICES)


def test_the_network_admits_callers_by_name_and_nobody_else(target: str) -> None:
    policies = {name_of(policy): policy["spec"] for policy in of_kind(target, "NetworkPolicy")}

    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for service in SERVICES:
        policy = policies[service]

        assert {"matchLabels": {"app.kubernetes.io/name": service}} == policy["podSelector"]
        assert {caller for caller in SERVICES if service in CALLS[caller]} == _peers(
            policy["ingress"], "from"
        )
        assert CALLS[service] == _peers(policy.get("egress", []), "to")
    for name, policy in policies.items():
        for rule in [*policy.get("ingress", []), *policy.get("egress", [])]:
            assert rule["ports"], name
            assert rule.get("from") or rule.get("to"), name
    reached = {port["port"] for rule in policies["stores"]["egress"] for port in rule["ports"]}

    assert {5432, 9092} == reached
    assert {4318} == {port["port"] for rule in policies["traces"]["egress"] for port in rule["ports"]}
    assert {53} == {port["port"] for port in policies["dns"]["egress"][0]["ports"]}


def test_every_service_leads_to_pods_that_serve(target: str) -> None:
    made = workloads(target, "Deployment", "StatefulSet")
    for service in of_kind(target, "Service"):
        behind = [w for w in made if service["spec"]["selector"].items() <= w.labels.items()]

        assert len(behind) == 1, name_of(service)
        assert behind[0].component in {"serve", ""}, name_of(service)
        ports = {port["name"]: port["containerPort"] for port in behind[0].containers[0]["ports"]}
        for port in service["spec"]["ports"]:
            # A headless service translates no port.
            assert ports[port["targetPort"]] == port["port"], name_of(service)
    headless = {name_of(s) for s in of_kind(target, "Service") if s["spec"].get("clusterIP") == "None"}

    assert set(SERVICES) <= headless


def test_all_lives_in_one_restricted_namespace(target: str) -> None:
    (namespace,) = of_kind(target, "Namespace")
    others = [manifest for manifest in render(target) if manifest["kind"] != "Namespace"]

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {name_of(namespace)} == {manifest["metadata"]["namespace"] for manifest in others}


def test_no_secret_stands_in_what_production_applies(target: str) -> None:
    made = of_kind(target, "Secret")

    assert bool(made) == target.startswith("dev")
    for secret in made:
        assert set(secret) <= {"apiVersion", "kind", "metadata", "type", "data"}
    if target == "prod":
        assert "development" not in json.dumps(render(target))
