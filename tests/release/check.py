"""Checks a release: what the wheel and the sdist hold, that anybody builds the same ones, and that the demo runs.

`python -m tests.release.check FOLDER` takes the folder that holds both. The wheel is installed on each Python that this
machine has, and the sdist on this one: into fresh environments, in a temporary folder, from which nothing of the
checkout can be imported. On the oldest Python the wheel is also installed with the oldest dependencies that it allows.
Both are built again from the sdist, and have to be the same byte for byte.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from tests.support.pythons import OLDEST, VERSIONS, interpreter, oldest

PACKAGES: Final = ("gateway", "runs", "stepflow")
IN_SDIST: Final = frozenset(
    {
        *("LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "pyproject.toml"),
        *(
            "gateway/py.typed",
            "gateway/fronts/http/ui/index.html",
            "generated/runs/py.typed",
            "generated/stepflow/py.typed",
        ),
        *("protos/runs/v1/runs.proto", "protos/released.binpb", "examples/demo.py", "docs/engines.md"),
        *("Dockerfile", ".dockerignore", "deploy/compose.yaml", "deploy/systemd/runs-gateway.service"),
        *("Makefile", "buf.yaml", "clients/README.md", "benchmarks/run.py", "tests/release/check.py"),
        *("deploy/helm/runs-gateway/Chart.yaml", "deploy/kubernetes/one-gateway.yaml"),
    }
)
PRINT_ORIGINS: Final = (
    "import gateway, runs, stepflow; print(*gateway.__path__, *runs.__path__, *stepflow.__path__, sep='\\n')"
)
"""Prints the folders from which the packages are imported."""


def main() -> None:
    """Check the release in the folder that the command line names. Exits with a message if something is wrong."""
    folder = Path(sys.argv[1])
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    check_wheel(wheel)
    with tempfile.TemporaryDirectory(prefix="runs-gateway-release-") as temporary:
        root = Path(temporary)
        unpacked = unpack(sdist, root / "sdist")
        check_same(folder, unpacked, root / "again")
        pythons = {version: python for version in VERSIONS if (python := interpreter(version))}
        own = ".".join(map(str, sys.version_info[:2]))
        for distribution, version in [(sdist, own), *((wheel, version) for version in pythons)]:
            place = root / f"{version}{distribution.suffix}"
            place.mkdir()
            shutil.copytree(unpacked / "examples", place / "examples")
            run_demo(distribution.resolve(), place, pythons.get(version, sys.executable))
            say(f"{distribution.name}: installed on Python {version}, and the demo has run")
        python = pythons.get(VERSIONS[0])
        require(python is not None or "CI" not in os.environ, f"Python {VERSIONS[0]} is missing")
        if python is None:
            say(f"{wheel.name}: not installed with the oldest dependencies, for which this machine lacks {VERSIONS[0]}")
        else:
            check_oldest(wheel.resolve(), unpacked, root / OLDEST, python)


def check_oldest(wheel: Path, unpacked: Path, place: Path, python: str) -> None:
    """Check that the demo runs with the oldest version of each dependency that the wheel allows.

    On newer Pythons some of these are no wheels, and cannot be built.
    """
    shutil.copytree(unpacked / "examples", place / "examples")
    constraints = place / "constraints.txt"
    constraints.write_text("\n".join(oldest()))
    run_demo(wheel, place, python, "--constraint", str(constraints))
    say(f"{wheel.name}: installed with the oldest dependencies, and the demo has run")


def check_wheel(wheel: Path) -> None:
    """Check that the wheel has the packages with type markers, the live page, the licence, and nothing beside them."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    (information,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    page = {f"gateway/fronts/http/ui/{file.name}" for file in Path("gateway/fronts/http/ui").iterdir()}
    check_links(wheel)
    wanted = {*(f"{package}/py.typed" for package in PACKAGES), f"{information}/licenses/LICENSE", *page}
    require(wanted <= names, f"{wheel.name} lacks {sorted(wanted - names)}")
    folders = {name.split("/")[0] for name in names}
    require(folders == {*PACKAGES, information}, f"{wheel.name} holds {sorted(folders)}")


def check_links(wheel: Path) -> None:
    """Check that the description, which a package index shows, has no link that is dead there."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        description = archive.read(metadata).decode().partition("\n\n")[2]
    links = re.findall(r"\]\(([^)]+)\)", description)
    dead = [link for link in links if not link.startswith(("https://", "#"))]
    require(bool(links) and not dead, f"{wheel.name}: links of its description lead nowhere: {dead}")
    beside = {link.partition("/blob/main/")[2].partition("#")[0] for link in links}
    require(all(Path(name).exists() for name in beside), f"{wheel.name}: its description has links to no file")


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack the sdist, check that it is complete, and return its folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    (folder,) = into.iterdir()
    missing = sorted(name for name in IN_SDIST if not (folder / name).is_file())
    require(not missing, f"{sdist.name} lacks {missing}")
    return folder


def check_same(folder: Path, unpacked: Path, again: Path) -> None:
    """Check that what is built again, from the unpacked sdist and in another folder, is the same."""
    run(unpacked, sys.executable, "-m", "build", "--outdir", str(again))
    for built in again.iterdir():
        first, second = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / built.name, built))
        require(first == second, f"{built.name} differs when it is built again")
        say(f"{built.name}: sha256 {first}")


def run_demo(distribution: Path, place: Path, python: str, *options: str) -> None:
    """Install the distribution into a fresh environment of a Python, and run the demo of `place` there.

    `options` are for the installer.
    """
    environment = place / "environment"
    run(place, python, "-m", "venv", str(environment))
    python = str(environment / "bin/python")
    run(place, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, str(distribution))
    imported = run(place, python, "-c", PRINT_ORIGINS).splitlines()
    require(
        len(imported) == len(PACKAGES) and all(path.startswith(f"{environment}/") for path in imported),
        f"imported from {imported}",
    )
    run(place, python, "-W", "error", "examples/demo.py")


def run(place: Path, *command: str) -> str:
    """Run a command in a folder, without Python's variables of this process; return what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, cwd=place, env=clean, stdout=subprocess.PIPE, text=True, timeout=600)
    require(done.returncode == 0, f"{done.stdout}\nexit code {done.returncode}: {' '.join(command)}")
    return done.stdout


def require(condition: bool, failure: str) -> None:
    """Exit with the failure unless the condition holds."""
    if not condition:
        sys.exit(failure)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
