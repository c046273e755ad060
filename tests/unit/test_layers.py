"""Imports point downwards: a folder of the gateway may know the floors below its own, and itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[2] / "gateway"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("cli", "testing"),
    ("server", "conformance"),
    ("fronts/web",),
    (
        "fronts/grpc",
        "fronts/http",
        "fronts/link",
        "runtimes/embedded",
        "runtimes/jsonrpc",
        "runtimes/relay",
        "runtimes/stepflow",
        "runtimes/temporal",
        "bridge",
        "client",
    ),
    ("flows",),
    ("components", "runs", "access", "adapter", "storage"),
    ("concurrency", "peers/grpc", "peers/http", "peers/link"),
    ("core",),
    ("telemetry",),
)
"""The folders of `gateway/`, from the top down. A folder imports from the floors below its own, and from itself."""

GRPC_FOLDERS = {
    "adapter",
    "peers/grpc",
    "fronts/grpc",
    "fronts/web",
    "runtimes/relay",
    "bridge",
    "client",
    "conformance",
}
"""Where protobuf and grpc may be imported."""

GRPC_PACKAGES = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "pygrpc_native", "google", "runs", "stepflow"}

CONTAINERS = {"gateway", "gateway.fronts", "gateway.runtimes", "gateway.peers"}
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
    """The floor of a module, and the folder on it that the module belongs to."""
    if module == "gateway.__main__":
        return 0, "cli"
    for floor, folders in enumerate(FLOORS):
        for folder in folders:
            package = f"gateway.{folder.replace('/', '.')}"
            if module == package or module.startswith(f"{package}."):
                return floor, folder
    return None


def test_every_module_has_a_floor() -> None:
    assert [module for module in MODULES if module not in CONTAINERS and home_of(module) is None] == []


def test_every_folder_exists() -> None:
    assert [folder for floor in FLOORS for folder in floor if not (GATEWAY / folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    home = home_of(module)
    imported = [name for name in imports_of(MODULES[module]) if name == "gateway" or name.startswith("gateway.")]
    if home is None:
        assert imported == []
        return
    floor, folder = home
    for name in imported:
        target = home_of(name)
        assert target is not None, f"{module} imports {name}, which has no floor"
        assert target[1] == folder or target[0] > floor, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("gateway.runtimes.")])
def test_no_runtime_knows_the_service_above_it(module: str) -> None:
    assert [name for name in imports_of(MODULES[module]) if name.startswith("gateway.runs")] == []


@pytest.mark.parametrize("module", MODULES)
def test_only_few_folders_know_grpc_and_protobuf(module: str) -> None:
    home = home_of(module)
    if home is not None and home[1] in GRPC_FOLDERS:
        return
    assert {name for name in imports_of(MODULES[module]) if name.split(".")[0] in GRPC_PACKAGES} == set()


@pytest.mark.parametrize("module", MODULES)
def test_only_the_runtime_that_it_is_for_knows_the_sdk_of_temporal(module: str) -> None:
    home = home_of(module)
    if home is None or home[1] != "runtimes/temporal":
        assert [name for name in imports_of(MODULES[module]) if name.split(".")[0] == "temporalio"] == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_knows_the_tests(module: str) -> None:
    # pytest is no dependency of the package: the fixtures for applications are a module that only pytest imports.
    allowed = {"pytest"} if module == "gateway.testing.pytest_plugin" else set()
    roots = {name.split(".")[0] for name in imports_of(MODULES[module])}
    assert roots & {"tests", "pytest", "hypothesis"} <= allowed


def test_nobody_imports_the_module_that_imports_pytest() -> None:
    plugin = "gateway.testing.pytest_plugin"
    assert [module for module, file in MODULES.items() if plugin in imports_of(file)] == []
