"""The chart and the manifests: valid for Kubernetes, and about settings, probes and metrics that the gateway has."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import ClientSession

from gateway.server.setting_forms import RuntimeKind
from gateway.server.settings import ServeSettings
from gateway.server.settings_sources import load_serve
from tests.support import deployment_tools, helm_chart
from tests.support.command_line import CommandLine
from tests.support.helm_chart import CHART, DEPLOY, MANIFESTS, ChartError, objects
from tests.support.metrics_table import registry

TEMPORAL: Final[dict[str, Any]] = yaml.safe_load((CHART / "examples/temporal.yaml").read_text(encoding="utf-8"))
VALUES: Final[dict[str, dict[str, Any]]] = {
    "one gateway": {},
    "on Temporal": TEMPORAL,
    "embedded, by its name": {"settings": {"runtime": "embedded"}},
    "before a Stepflow engine": {"settings": {"runtime": "stepflow+http://engine:7840"}},
    "before a server of the methods": {"settings": {"runtime": "jsonrpc+https://server:443/rpc"}},
    "relays": {
        "replicas": 2,
        "settings": {"runtime": "grpc://keys-runs-gateway:50051"},
        "podLabels": {"runs-gateway-client": "true"},
    },
    "with TLS": {"tls": {"secretName": "gateway-tls"}, "settings": {"insecure": False, "tokens": "/etc/tokens.toml"}},
    "with more of everything": {
        "env": [{"name": "A", "value": "b"}],
        "volumes": [{"name": "tokens", "secret": {"secretName": "tokens"}}],
        "volumeMounts": [{"name": "tokens", "mountPath": "/etc/tokens"}],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "persistence": {"storageClassName": "fast"},
        "service": {"type": "LoadBalancer", "annotations": {"balancer.example/scheme": "internal"}},
        "serviceAccount": {"annotations": {"cloud.example/role": "arn:aws:iam::1:role/runs"}},
        "podAnnotations": {"mesh.example/inject": "false"},
        "podLabels": {"cloud.example/identity": "use"},
        "imagePullSecrets": [{"name": "registry"}],
        "networkPolicy": {"enabled": False},
    },
}
DIGEST: Final = f"sha256:{'0a' * 32}"
VERSIONS: Final = ("1.27", "1.37")
"""The oldest version of Kubernetes that the chart allows, and the newest with schemas."""


def workload(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What makes pods."""
    made: dict[str, Any] = found.get("Deployment") or found["StatefulSet"]
    return made


def container(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    [one] = workload(found)["spec"]["template"]["spec"]["containers"]
    return dict(one)


def settings_of(found: dict[str, dict[str, Any]], folder: Path) -> ServeSettings:
    """The settings that a gateway in this container has."""
    file = folder / "settings.yaml"
    file.write_text(found["ConfigMap"]["data"]["settings.yaml"], encoding="utf-8")
    variables = {each["name"]: each["value"] for each in container(found)["env"]}
    return load_serve({}, variables, file)


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_the_manifests_are_what_the_chart_renders(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == helm_chart.manifest(MANIFESTS[file]), "make manifests"


def test_helm_and_yamllint_find_nothing() -> None:
    assert [told["error"] for told in helm_chart.complaints()] == ["icon is recommended"]
    lint = [deployment_tools.tool("yamllint"), "--strict", "--config-file", str(DEPLOY / ".yamllint"), str(DEPLOY)]
    checked = subprocess.run(lint, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_takes_what_is_rendered(values: dict[str, Any], version: str, tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text("\n---\n".join(helm_chart.rendered(values).values()), encoding="utf-8")
    command = [deployment_tools.tool("kubernetes-validate"), "--strict", "-k", version, str(file)]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_settings_exist_and_pods_get_the_time_to_end(values: dict[str, Any], tmp_path: Path) -> None:
    found = objects(values)
    settings = settings_of(found, tmp_path)
    assert settings.runtime == values.get("settings", {}).get("runtime", "embedded")
    given = workload(found)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert given > settings.drain_delay + settings.drain_seconds + 5


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_pods_have_no_privileges_and_can_write_their_volumes_alone(values: dict[str, Any]) -> None:
    spec = workload(objects(values))["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    [one] = spec["containers"]
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
    claims = workload(objects(values))["spec"].get("volumeClaimTemplates", [])
    there = {each["name"] for each in spec["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    assert set(mounted) == there
    assert mounted["state"] == "/var/lib/runs-gateway"


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_gateway_that_keeps_something_is_one_and_has_a_volume_that_stays(
    values: dict[str, Any], tmp_path: Path
) -> None:
    found = objects(values)
    spec = workload(found)["spec"]
    if settings_of(found, tmp_path).runtime_kind in {RuntimeKind.RELAY, RuntimeKind.TEMPORAL}:
        assert "StatefulSet" not in found
    else:
        assert spec["replicas"] == 1
        assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["state"]
        assert "state" not in {volume["name"] for volume in spec["template"]["spec"]["volumes"]}


def test_annotations_and_pull_secrets_are_where_clouds_look() -> None:
    values = VALUES["with more of everything"]
    found, plain = objects(values), objects()
    assert found["Service"]["metadata"]["annotations"] == values["service"]["annotations"]
    assert found["ServiceAccount"]["metadata"]["annotations"] == values["serviceAccount"]["annotations"]
    pods, own = (workload(each)["spec"]["template"] for each in (found, plain))
    assert pods["metadata"]["annotations"] == own["metadata"]["annotations"] | values["podAnnotations"]
    assert pods["metadata"]["labels"] == own["metadata"]["labels"] | values["podLabels"]
    assert pods["spec"]["imagePullSecrets"] == values["imagePullSecrets"]
    assert "imagePullSecrets" not in own["spec"]


def test_metrics_by_which_it_scales_exist() -> None:
    scaler = objects(TEMPORAL)["HorizontalPodAutoscaler"]["spec"]
    names = [metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods"]
    assert names == ["runs_gateway_open_streams"]
    assert {*names} <= {family.name for family in registry()}
    assert "replicas" not in objects(TEMPORAL)["Deployment"]["spec"]


def test_probes_are_over_tls_where_the_port_is() -> None:
    one = container(objects(VALUES["with TLS"]))
    probes = [one[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["scheme"] for probe in probes} == {"HTTPS"}


async def test_the_gateway_answers_the_probes_and_listens_where_they_ask(tmp_path: Path) -> None:
    found = objects()
    one = container(found)
    file = tmp_path / "settings.yaml"
    file.write_text(found["ConfigMap"]["data"]["settings.yaml"], encoding="utf-8")
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    variables = {each["name"]: each["value"] for each in one["env"]}
    for name, port in ports.items():
        assert variables[f"RUNS_GATEWAY_{name.upper()}_ADDRESS"] == f"0.0.0.0:{port}"
    assert {each["targetPort"] for each in found["Service"]["spec"]["ports"]} == {*ports}
    command, option, path = one["args"]
    assert (command, option, Path(path).name) == ("serve", "--config", file.name)
    served = CommandLine(tmp_path).serving(option, str(file), "--drain-delay", "0", http="0.0.0.0:0")
    async with served as serving, ClientSession() as http:
        for kind in ("startup", "liveness", "readiness"):
            probe = one[f"{kind}Probe"]["httpGet"]
            # The kubelet calls a pod by its address.
            place = f"{serving.http.replace('0.0.0.0', '127.0.0.1')}{probe['path']}"
            async with http.get(place, headers={"Host": "10.1.2.3:8080"}) as response:
                assert (response.status, probe["port"]) == (200, "http")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"replicas": 2}, "several replicas need a settings.runtime"),
        ({"replicas": 3, "settings": {"runtime": "embedded"}}, "several replicas need a settings.runtime"),
        ({"replicas": 2, "settings": {"runtime": "stepflow+http://a:1"}}, "several replicas need a settings.runtime"),
        ({"autoscaling": {"enabled": True}}, "autoscaling needs a settings.runtime"),
        ({**TEMPORAL, "autoscaling": {"enabled": True, "minReplicas": 11}}, "minReplicas is more than"),
        ({"volumes": [{"name": "state", "emptyDir": {}}]}, "the name state is taken"),
        ({"volumeMounts": [{"name": "none", "mountPath": "/none"}]}, "there is no volume none"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/var/lib/runs-gateway/"}]}, "has something at /var/lib"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/etc/runs-gateway/tokens"}]}, "has something at /etc"),
        ({"volumeMounts": 2 * [{"name": "tmp", "mountPath": "/a"}]}, "has something at /a"),
        ({"volumeMounts": [{"name": "tmp"}]}, "mountPath"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/"}]}, "a mount would hide it"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/opt/../opt/runs-gateway/bin/"}]}, "a mount would hide it"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/usr/lib"}]}, "a mount would hide it"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/usr/local"}]}, "a mount would hide it"),
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/usr/local/lib/python3.13"}]}, "a mount would hide it"),
        ({"persistence": {"size": "ten"}}, "size"),
        ({"persistence": {"size": "10 Gi"}}, "size"),
        ({"env": [{"name": "X", "value": 2}]}, "env"),
        ({"settings": {"insecure": False}}, "settings.insecure"),
        ({"settings": {"insecure": False}, "env": [{"name": "FOO", "value": "x"}]}, "settings.insecure"),
        ({"settings": {"insecure": False, "tokens": "/t"}, "env": [{"name": "A", "value": "b"}]}, "settings.insecure"),
        ({"image": {"repository": f"r/x@{DIGEST}"}}, "repository"),
        ({"image": {"digest": "sha256:12"}}, "digest"),
        ({"image": {"digest": DIGEST, "tag": "1"}}, "digest and tag are both given"),
        ({"env": [{"name": "RUNS_GATEWAY_RUNTIME", "value": "embedded"}]}, "RUNS_GATEWAY_RUNTIME"),
        ({"env": 2 * [{"name": "A", "value": "b"}]}, "A is given twice"),
        ({"settings": {"tls_client_ca": "/ca.pem"}}, "probes of Kubernetes show no certificate"),
        ({"replica": 1}, "replica"),
        ({"settings": {"grpc_address": "0.0.0.0:1"}}, "settings"),
        ({"service": {"annotations": {"a": 1}}}, "service"),
        ({"serviceAccount": {"name": "other"}}, "serviceAccount"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
        ({"podAnnotations": {"checksum/settings": "none"}}, "checksum/settings"),
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "app.kubernetes.io/name"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ChartError, match=why):
        helm_chart.rendered(copy.deepcopy(values))


@pytest.mark.parametrize(
    "values",
    [
        {"volumeMounts": [{"name": "tmp", "mountPath": "/etc/ssl/certs"}]},
        {"volumeMounts": [{"name": "tmp", "mountPath": "/usr/local/share/components"}]},
        {"settings": {"insecure": False}, "env": [{"name": "RUNS_GATEWAY_INSECURE", "value": "true"}]},
        {"settings": {"insecure": False}, "envFrom": [{"secretRef": {"name": "all"}}]},
        {"settings": {"insecure": False}, "tls": {"secretName": "t"}, "env": [{"name": "RUNS_GATEWAY_TOKENS"}]},
        *({"persistence": {"size": size}} for size in ("10Gi", "1.5T", "1000000000", "1e10")),
    ],
    ids=str,
)
def test_what_may_work_is_not_refused(values: dict[str, Any]) -> None:
    assert helm_chart.rendered(copy.deepcopy(values))


@pytest.mark.parametrize("name", ["a.b", "1abc"])
def test_a_release_whose_services_could_have_no_name_is_refused(name: str) -> None:
    with pytest.raises(ChartError, match=f"the name of the release, {name}"):
        helm_chart.rendered(release=name)
    assert "name: ab-runs-gateway\n" in helm_chart.rendered(release="ab")["service.yaml"]


@pytest.mark.parametrize(
    ("given", "image"),
    [
        ({"digest": DIGEST}, f"runs-gateway@{DIGEST}"),
        ({"repository": "r:5000/x", "digest": DIGEST}, f"r:5000/x@{DIGEST}"),
        ({"tag": "1.2"}, "runs-gateway:1.2"),
    ],
)
def test_an_image_is_named_by_tag_or_by_digest(given: dict[str, str], image: str) -> None:
    assert container(objects({"image": given}))["image"] == image


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"]
    assert f'version = "{chart["version"]}"' in (DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["additionalProperties"] is False
