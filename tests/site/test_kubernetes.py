"""docs/kubernetes starts the processes that there are, with settings that are read, and asks them
what they answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from distillhub.cli import _parser
from distillhub.cli.serve import GRACE
from tests.site.test_settings import OTHERS, documented

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "kubernetes"


def kustomization() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return found


def objects(kind: str) -> dict[str, dict[str, Any]]:
    """By name, of all files."""
    found: dict[str, dict[str, Any]] = {}
    for name in kustomization()["resources"]:
        for one in yaml.safe_load_all((FOLDER / name).read_text()):
            if one["kind"] == kind:
                assert one["metadata"]["name"] not in found
                found[one["metadata"]["name"]] = one
    return found


def pods() -> dict[str, dict[str, Any]]:
    return {
        name: one["spec"]["template"]["spec"]
        for kind in ("Deployment", "Job")
        for name, one in objects(kind).items()
    }


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods().items():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield name, container


def test_every_file_is_applied_and_every_process_is_there() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization()["resources"]) == files
    assert set(pods()) == {"migrate", "web", "worker", "worker-gpu", "beat"}


def test_each_command_exists_and_runs_in_an_image_that_is_named() -> None:
    images = {one["name"] for one in kustomization()["images"]}
    for name, container in containers():
        assert container["image"] in images, name
        assert container["command"][0] == "distillhub"
        parsed = _parser().parse_args(container["command"][1:])
        assert parsed.command == container["command"][1], name


def test_only_settings_that_are_read_are_set_and_all_pods_have_the_same() -> None:
    config, secret = objects("ConfigMap")["distillhub"], objects("Secret")["distillhub"]
    own = {one["name"] for _, container in containers() for one in container.get("env", [])}
    named = {*config["data"], *secret["stringData"], *own}
    assert named <= documented() | OTHERS
    assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL"} <= set(secret["stringData"])
    assert not set(config["data"]) & set(secret["stringData"])
    assert all(isinstance(value, str) for value in config["data"].values())
    for _, container in containers():
        assert container["envFrom"] == [
            {"configMapRef": {"name": "distillhub"}},
            {"secretRef": {"name": "distillhub"}},
        ]


def test_probes_ask_for_what_is_answered_by_a_name_that_is_allowed() -> None:
    allowed = objects("ConfigMap")["distillhub"]["data"]["ALLOWED_HOSTS"].split(",")
    web = pods()["web"]["containers"][0]
    ports = {one["name"]: one["containerPort"] for one in web["ports"]}
    for probe in (web["readinessProbe"]["httpGet"], web["livenessProbe"]["httpGet"]):
        assert probe["path"] in settings.PROBES
        assert probe["port"] in ports
        assert {"name": "Host", "value": "localhost"} in probe["httpHeaders"]
    assert "localhost" in allowed
    assert _parser().parse_args(web["command"][1:]).port in ports.values()
    notes = objects("Deployment")["web"]["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/path"] in settings.PROBES
    assert int(notes["prometheus.io/port"]) in ports.values()


def test_the_address_leads_from_the_ingress_to_the_pods() -> None:
    config = objects("ConfigMap")["distillhub"]["data"]
    rule = objects("Ingress")["web"]["spec"]["rules"][0]
    assert config["SITE_URL"] == f"https://{rule['host']}"
    assert rule["host"] in config["ALLOWED_HOSTS"].split(",")
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = objects("Service")[backend["name"]]["spec"]
    assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    labels = objects("Deployment")["web"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert objects("PodDisruptionBudget")["web"]["spec"]["selector"]["matchLabels"] == labels
    names = {one["name"] for one in pods()["web"]["containers"][0]["ports"]}
    assert {one["targetPort"] for one in service["ports"]} <= names


@pytest.mark.parametrize("name", ["web", "worker", "worker-gpu", "beat"])
def test_labels_select_their_own_pods(name: str) -> None:
    spec = objects("Deployment")[name]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"]["part"] == name


def test_pods_have_the_time_to_leave() -> None:
    web = pods()["web"]
    waits = int(web["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert web["terminationGracePeriodSeconds"] > waits + GRACE
    for name in ("worker", "worker-gpu"):
        assert pods()[name]["terminationGracePeriodSeconds"] > 30  # children are killed then


def test_there_is_one_scheduler_and_an_update_takes_no_page_away() -> None:
    beat = objects("Deployment")["beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]["type"]) == (1, "Recreate")
    update = objects("Deployment")["web"]["spec"]["strategy"]["rollingUpdate"]
    assert update["maxUnavailable"] == 0


def test_no_pod_runs_as_root_or_writes_outside_its_home() -> None:
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        volumes = {one["name"] for one in pod["volumes"]}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {one["name"] for one in container["volumeMounts"]} <= volumes
            assert [one["mountPath"] for one in container["volumeMounts"]] == ["/data"]
