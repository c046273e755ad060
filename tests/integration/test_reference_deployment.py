"""What `deploy/temporal` starts is there: its settings exist, its services too, and haproxy takes its configuration."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.server.settings_sources import load_serve

FOLDER = Path(__file__).parents[2] / "deploy" / "temporal"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway-")]


def test_there_are_three_gateways_with_settings_that_exist() -> None:
    assert len(GATEWAYS) == 3
    for name in GATEWAYS:
        program, command, *flags = SERVICES[name]["command"]
        assert (program, command) == ("runs-gateway", "serve")
        values = dict(flag.removeprefix("--").replace("-", "_").partition("=")[::2] for flag in flags)
        assert values.pop("insecure") == ""
        settings = load_serve({**values, "insecure": True}, {})
        assert settings.runtime == "temporal://temporal:7233/runs"


def test_services_that_are_waited_for_are_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
    for name in re.findall(r"server \w+ ([\w-]+):", (FOLDER / "haproxy.cfg").read_text(encoding="utf-8")):
        assert name in GATEWAYS


def test_haproxy_takes_its_configuration() -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        assert "CI" not in os.environ
        pytest.skip("haproxy was not found")
    subprocess.run([program, "-c", "-q", "-f", str(FOLDER / "haproxy.cfg")], check=True)
