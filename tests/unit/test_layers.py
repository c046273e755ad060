"""Imports point downwards: each module of the gateway may know the layers below its own, and its own package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[2] / "gateway"

LAYERS: list[set[str]] = [
    {"gateway.cli", "gateway.worker"},
    {"gateway.app"},
    {"gateway.workers"},
    {"gateway.config"},
    {
        "gateway.fronts.grpc_front",
        "gateway.fronts.http_front",
        "gateway.runtimes.embedded",
        "gateway.runtimes.relay",
        "gateway.runtimes.stepflow",
        "gateway.runtimes.jsonrpc",
        "gateway.client",
        "gateway.bridge",
    },
    {"gateway.dispatch", "gateway.fronts.event_stream", "gateway.fronts.grpc_transport"},
    {"gateway.service", "gateway.components"},
    {"gateway.adapter", "gateway.watch", "gateway.fronts.native_transport"},
    {"gateway.position", "gateway.idempotency"},
    {
        "gateway.runtime",
        "gateway.defects",
        "gateway.turnstile",
        "gateway.wakeup",
        "gateway.signals",
        "gateway.state_file",
        "gateway.sending",
        "gateway.scheduling",
    },
    {"gateway.model", "gateway.errors"},
]
"""From the top down. Members of one layer do not know each other."""

GRPC_ROOMS = (
    "gateway.sending",
    "gateway.adapter",
    "gateway.fronts.grpc_front",
    "gateway.fronts.grpc_transport",
    "gateway.fronts.native_transport",
    "gateway.runtimes.relay",
    "gateway.client",
    "gateway.bridge",
)
"""Where protobuf and grpc may be imported."""

GRPC_PACKAGES = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "pygrpc_native", "google", "runs", "stepflow"}

PACKAGES = {"gateway", "gateway.fronts", "gateway.runtimes"}
"""Packages that only hold others; they import nothing."""


def name_of(file: Path) -> str:
    parts = file.relative_to(GATEWAY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(GATEWAY.rglob("*.py"))}


def imports_of(file: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def home_of(module: str) -> tuple[int, str] | None:
    """The layer of a module, and the member of the layer that it belongs to."""
    for depth, members in enumerate(LAYERS):
        for member in members:
            if module == member or module.startswith(f"{member}."):
                return depth, member
    return None


def test_every_module_has_a_layer() -> None:
    assert [module for module in MODULES if module not in PACKAGES and home_of(module) is None] == []


def test_every_layer_has_its_modules() -> None:
    members = {member for layer in LAYERS for member in layer}
    assert {member for member in members if member not in MODULES} == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    home = home_of(module)
    imported = [name for name in imports_of(MODULES[module]) if name == "gateway" or name.startswith("gateway.")]
    if home is None:
        assert imported == []
        return
    depth, member = home
    for name in imported:
        target = home_of(name)
        assert target is not None, f"{module} imports {name}, which belongs to no layer"
        assert target[1] == member or target[0] > depth, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", MODULES)
def test_only_few_modules_know_grpc_and_protobuf(module: str) -> None:
    if module.startswith(GRPC_ROOMS):
        return
    assert {name for name in imports_of(MODULES[module]) if name.split(".")[0] in GRPC_PACKAGES} == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_module_knows_the_tests(module: str) -> None:
    assert {
        name for name in imports_of(MODULES[module]) if name.split(".")[0] in {"tests", "pytest", "hypothesis"}
    } == set()
