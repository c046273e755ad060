"""Runs the tests without engines on each Python that this machine has, and on the oldest versions of what we depend on.

`python -m tests.support.pythons [NAME...]`, with names such as `3.12` or `oldest`; arguments after `--` go to pytest.
Each has an environment of its own below `.cache/pythons`.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
SETTINGS: Final = PROJECT / "pyproject.toml"
FOLDER: Final = PROJECT / ".cache/pythons"
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
OLDEST: Final = "oldest"
"""The name of the environment with the oldest versions, on the oldest Python: for newer ones, some are no wheels."""


def main() -> int:
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    names, options = arguments[:cut], arguments[cut + 1 :]
    found = {version: python for version in VERSIONS if (python := interpreter(version))}
    _say(f"found Python {', '.join(found)}; not on this machine: {', '.join({*VERSIONS} - {*found}) or 'none'}")
    failed = []
    for name, python in {**found, OLDEST: found.get(VERSIONS[0], sys.executable)}.items():
        if not names or name in names:
            ended = subprocess.run(
                [prepared(name, python), "-m", "pytest", "-q", "-m", "not slow", *options], cwd=PROJECT, check=False
            )
            failed += [name] * (ended.returncode != 0)
    _say(f"failed: {', '.join(failed)}" if failed else "all passed")
    return len(failed)


def interpreter(version: str) -> str | None:
    """The first program that runs this version and can make environments: on the PATH, this one, or one of pyenv.

    A program of pyenv on the PATH may be there for a version that is not active, and then does not run.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    own = shutil.which(f"python{version}", path=f"{sys.base_prefix}/bin")
    candidates = [shutil.which(f"python{version}"), own, *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    check = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def prepared(name: str, python: str) -> Path:
    """The interpreter of the environment of this name, which is made anew if requirements have changed."""
    folder = FOLDER / name
    ready, own = folder / ".ready", folder / "bin/python"
    if not ready.exists() or ready.stat().st_mtime < SETTINGS.stat().st_mtime:
        _say(f"setting up {folder.relative_to(PROJECT)} ...")
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(oldest()) if name == OLDEST else "")
        pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--constraint", str(constraints), "--editable", ".[dev]"], cwd=PROJECT, check=True)
        ready.touch()
    _say(f"testing with {name}: {subprocess.check_output([own, '--version'], text=True).strip()}")
    return own


def oldest() -> Iterator[str]:
    """Constraints to the oldest versions that pyproject.toml allows, of all but the tools for tests."""
    project = tomllib.loads(SETTINGS.read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["native"], *extras["temporal"]]:
        name, version = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+),.*", requirement).groups()  # type: ignore[union-attr]
        yield f"{name}=={version}"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    sys.exit(main())
