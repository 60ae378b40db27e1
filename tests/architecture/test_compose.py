"""docker-compose.yml, the Dockerfile and the code agree: commands, stages, environment, health checks."""

import re
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
STAGES = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
OWN = sorted(name for name, service in SERVICES.items() if "build" in service)


def words(service: dict) -> list[str]:
    command = service["command"]
    return command[2].split() if command[:2] == ["sh", "-c"] else command


def test_every_process_of_the_product_has_a_service():
    assert set(SERVICES) >= {
        "web", "pages", "ledger", "worker", "trainer", "beat", "private-models", "external-models", "redis", "postgres",
    }  # fmt: skip
    assert SERVICES["trainer"]["profiles"] == ["gpu"]
    assert SERVICES["redis"]["image"].startswith("valkey/")


def test_web_finds_the_pages_where_they_listen_and_nobody_else_does():
    from urllib.parse import urlsplit

    address = urlsplit(SERVICES["web"]["environment"]["SWITCHYARD_PAGES_URL"])
    command = SERVICES["pages"]["command"]
    assert address.hostname == "pages" and command[command.index("--port") + 1] == str(address.port)
    assert "ports" not in SERVICES["pages"]


@pytest.mark.parametrize("name", OWN)
def test_a_services_stage_exists_and_fits_it(name):
    target = SERVICES[name]["build"]["target"]
    assert target in STAGES
    assert target == ("gpu" if name == "trainer" else "cpu")


@pytest.mark.parametrize("name", OWN)
def test_a_services_command_exists(name):
    command = words(SERVICES[name])
    if "manage.py" in command:
        assert command[command.index("manage.py") + 1] in get_commands()
    elif command[0] == "uvicorn":
        module, _, attribute = command[1].partition(":")
        source = (ROOT / "platform" / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")
        assert re.search(rf"^{attribute} = ", source, re.MULTILINE)
    else:
        assert command[:3] == ["celery", "-A", "switchyard"]
        assert command[3] in {"worker", "beat"}


@pytest.mark.parametrize("name", OWN)
def test_a_managed_commands_options_are_understood(name):
    from django.core.management import load_command_class

    command = words(SERVICES[name])
    if "manage.py" not in command:
        pytest.skip("not a command of manage.py")
    place = command.index("manage.py") + 1
    found = load_command_class(get_commands()[command[place]], command[place])
    found.create_parser("manage.py", command[place]).parse_args(command[place + 1 :])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"setup"}))
def test_every_lasting_service_has_a_health_check_and_starts_again(name):
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_health_checks_call_what_exists():
    for name in OWN:
        test = SERVICES[name].get("healthcheck", {}).get("test", [])
        if "deploy/healthcheck.py" in test:
            assert (ROOT / "deploy/healthcheck.py").is_file()
        if "manage.py" in test:
            assert test[test.index("manage.py") + 1] in get_commands()
            from django.core.management import load_command_class

            word = test[test.index("manage.py") + 1]
            parser = load_command_class(get_commands()[word], word).create_parser("manage.py", word)
            parser.parse_args(test[test.index("manage.py") + 2 :])


def test_every_variable_of_the_environment_file_is_one_that_something_reads():
    text = (ROOT / "deploy/compose.env.example").read_text("utf-8")
    names = re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)
    sources = "\n".join(p.read_text("utf-8") for p in (ROOT / "platform").rglob("*.py")) + (
        ROOT / "docker-compose.yml"
    ).read_text("utf-8")
    assert [name for name in names if name not in sources] == []
    assert {"SWITCHYARD_SECRET_KEY", "SWITCHYARD_KEY_PEPPER", "DATABASE_URL", "REDIS_URL"} <= set(names)


def test_secrets_of_the_example_are_empty_so_that_nobody_runs_with_them():
    text = (ROOT / "deploy/compose.env.example").read_text("utf-8")
    assert (
        re.findall(r"^(?:\w+(?:SECRET|PEPPER|PASSWORD|PRIVATE|EXTERNAL)\w*)=(\S+)", text, re.MULTILINE) == []
    )


@pytest.mark.parametrize("stage", ["cpu", "gpu"])
def test_images_run_as_nobody_special_and_check_their_health(stage):
    body = re.search(rf"^FROM \S+ AS {stage}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert body is not None
    assert "USER switchyard" in body[1] and "HEALTHCHECK" in body[1]
    assert body[1].index("USER switchyard") < body[1].index("CMD")


def test_the_gpu_image_never_holds_both_onnxruntimes():
    gpu = DOCKERFILE[DOCKERFILE.index("AS gpu") :]
    assert gpu.index("pip uninstall --yes onnxruntime") < gpu.index("requirements-gpu.lock")
