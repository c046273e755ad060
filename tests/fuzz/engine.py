"""Runs one target: documents of its strategy and mutated ones, until the time is up or one breaks an invariant.

With atheris, both are guided by the branches of the gateway that they reach. Without it, Hypothesis makes documents of
the strategy, and plain bytes.
"""

import hashlib
import importlib
import logging
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

ROOT: Final = Path(__file__).parent
CORPUS: Final = ROOT / "corpus"
"""The inputs that once failed, and some that are close to what fails, by target."""

WORK: Final = Path(".cache/fuzz")
"""What runs leave behind: the documents that atheris keeps, and those that failed."""

MAX_CPU_SECONDS: Final = 10.0
"""How much processor time a document may take: thousands of times what one of its length needs."""

MAX_GROWTH: Final = 512 << 20
"""How many bytes of memory the process may take more at the end than at the beginning."""

_MAX_LENGTH: Final = 4_096


class Target:
    """A module of `tests.fuzz.targets`: `check` gets each document, and `DOCUMENTS` makes some."""

    def __init__(self, name: str) -> None:
        module = importlib.import_module(f"tests.fuzz.targets.{name}")
        self.name = name
        self.documents: st.SearchStrategy[bytes] = module.DOCUMENTS
        self._check: Callable[[bytes], None] = module.check
        self._served = getattr(module, "GATEWAY", None)
        self._memory = _memory()

    def check(self, document: bytes) -> None:
        """Check a document. Raises AssertionError, or anything else, if an invariant does not hold."""
        began = time.process_time()
        self._check(document)
        took = time.process_time() - began
        assert took < MAX_CPU_SECONDS, f"a document of {len(document)} bytes takes {took:.1f} s"
        growth = _memory() - self._memory
        assert growth < MAX_GROWTH, f"the process has grown by {growth >> 20} MiB"

    def close(self) -> None:
        """End what serves the target."""
        if self._served is not None:
            self._served.close()

    def corpus(self) -> list[Path]:
        """The committed documents."""
        return sorted((CORPUS / self.name).iterdir())


def run(name: str, seconds: float) -> None:
    """Run a target for so long. Ends the process with a status other than 0 if a document fails."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        tell(f"{name}: atheris is not installed here; Hypothesis looks for failures alone")
        _explore(Target(name), seconds)
    else:
        with atheris.instrument_imports(include=["gateway"], enable_loader_override=False):
            target = Target(name)
        _fuzz(atheris, target, seconds)


def _fuzz(atheris: Any, target: Target, seconds: float) -> None:
    """The first byte of what atheris makes tells whether the rest is a document, or what Hypothesis makes one from."""
    kept = WORK / target.name / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    for document in target.corpus():
        (kept / f"corpus-{document.name}").write_bytes(b"\0" + document.read_bytes())
    structured = settings(_SETTINGS)(given(target.documents)(lambda document: _checked(target, document)))

    def one(data: bytes) -> None:
        if data[:1] and data[0] & 1:
            structured.hypothesis.fuzz_one_input(data[1:])  # type: ignore[attr-defined]
        else:
            _checked(target, data[1:])

    options = [
        f"-max_total_time={max(1, int(seconds))}",
        f"-max_len={_MAX_LENGTH}",
        "-rss_limit_mb=2048",
        f"-timeout={int(3 * MAX_CPU_SECONDS)}",
        f"-artifact_prefix={WORK / target.name}/",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(kept)], one)
    atheris.Fuzz()


def _explore(target: Target, seconds: float) -> None:
    """Try documents in batches, each from another seed."""
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        number += _BATCH
        test = given(target.documents | st.binary(max_size=64))(lambda document: _checked(target, document))
        seed(random.getrandbits(32))(settings(_SETTINGS, max_examples=_BATCH)(test))()
    tell(f"{target.name}: {number:,} documents")


_BATCH: Final = 200
_SETTINGS: Final = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def _checked(target: Target, document: bytes) -> None:
    """Check a document, and keep it if it fails."""
    try:
        target.check(document)
    except Exception as error:
        path = WORK / target.name / f"failed-{hashlib.sha256(document).hexdigest()[:12]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(document)
            tell(f"{target.name}: {type(error).__name__}: {error}\n  {path}: {document[:200]!r}")
        raise


def tell(text: str) -> None:
    """Write a line, at once: the process may end abruptly."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _memory() -> int:
    """The largest size that the process has had in memory, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    run(sys.argv[1], float(sys.argv[2]))
