"""Imports point downwards: a folder of the gateway may know the floors below its own, and itself."""

import ast
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

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


def found_in(file: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


IMPORTS = {module: [*found_in(file)] for module, file in MODULES.items()}


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


def test_imports_point_downwards() -> None:
    wrong = []
    for module, imports in IMPORTS.items():
        home = home_of(module)
        for name in imports:
            if name != "gateway" and not name.startswith("gateway."):
                continue
            target = home_of(name)
            if home is None or target is None or not (target[1] == home[1] or target[0] > home[0]):
                wrong.append(f"{module} imports {name}, which is not below it")
    assert wrong == []


def test_no_runtime_knows_the_service_above_it() -> None:
    assert importers("gateway.runtimes", lambda name: name.startswith("gateway.runs")) == set()


def test_only_few_folders_know_grpc_and_protobuf() -> None:
    assert importers("gateway", lambda name: name.split(".")[0] in GRPC_PACKAGES, apart_from=GRPC_FOLDERS) == set()


def test_only_the_runtime_that_it_is_for_knows_the_sdk_of_temporal() -> None:
    found = importers("gateway", lambda name: name.split(".")[0] == "temporalio", apart_from={"runtimes/temporal"})
    assert found == set()


def test_no_module_knows_the_tests() -> None:
    # pytest is no dependency of the package: the fixtures for applications are a module that only pytest imports.
    assert importers("gateway", lambda name: name.split(".")[0] in {"tests", "hypothesis"}) == set()
    found = importers("gateway", lambda name: name.split(".")[0] == "pytest")
    assert {module for module, _ in found} <= {"gateway.testing.pytest_plugin"}


def test_nobody_imports_the_module_that_imports_pytest() -> None:
    assert importers("gateway", lambda name: name == "gateway.testing.pytest_plugin") == set()


def importers(
    package: str, is_meant: Callable[[str], bool], *, apart_from: Collection[str] = ()
) -> set[tuple[str, str]]:
    """The modules of a package that import what is meant, each with what it imports; those of some folders aside."""
    modules = [module for module in MODULES if f"{module}.".startswith(f"{package}.")]
    homes = {module: home_of(module) for module in modules}
    looked_at = [module for module, home in homes.items() if home is None or home[1] not in apart_from]
    return {(module, name) for module in looked_at for name in IMPORTS[module] if is_meant(name)}
