"""Checks a release: what the wheel and the sdist hold, and that the demo runs from each of them.

`python -m tests.release.check FOLDER` takes the folder that holds both. Each is installed into a fresh environment, in
a temporary folder: nothing of the checkout can be imported there.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import Final

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
        *("protos/runs/v1/runs.proto", "examples/demo.py", "docs/engines.md"),
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
        for distribution in (wheel, sdist):
            place = root / distribution.suffix
            place.mkdir()
            shutil.copytree(unpacked / "examples", place / "examples")
            run_demo(distribution.resolve(), place)
            say(f"{distribution.name}: installed, and the demo has run")


def check_wheel(wheel: Path) -> None:
    """Check that the wheel has the packages with type markers, the live page, the licence, and nothing beside them."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    (information,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    page = {f"gateway/fronts/http/ui/{file.name}" for file in Path("gateway/fronts/http/ui").iterdir()}
    wanted = {*(f"{package}/py.typed" for package in PACKAGES), f"{information}/licenses/LICENSE", *page}
    require(wanted <= names, f"{wheel.name} lacks {sorted(wanted - names)}")
    folders = {name.split("/")[0] for name in names}
    require(folders == {*PACKAGES, information}, f"{wheel.name} holds {sorted(folders)}")


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack the sdist, check that it is complete, and return its folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    (folder,) = into.iterdir()
    missing = sorted(name for name in IN_SDIST if not (folder / name).is_file())
    require(not missing, f"{sdist.name} lacks {missing}")
    return folder


def run_demo(distribution: Path, place: Path) -> None:
    """Install the distribution into a fresh environment below `place`, and run the demo of `place` there."""
    environment = place / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin/python")
    run(place, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(distribution))
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
