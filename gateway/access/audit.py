"""The audit log: who did what to which run. A line of JSON for each submit, cancel, delete and token, and for refusals.

Lines hold names and ids, and never payloads, labels or credentials. Nothing waits for them: they go through a bounded
queue to a thread, and what finds no room there is counted and told as a number.
"""

import logging
import threading
import time
from datetime import UTC, datetime
from hashlib import sha256
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct

from gateway.access.audit_failures import PERIOD, FailureCounts, FailureKind
from gateway.access.audit_file import AuditFile
from gateway.core.caller import ANYBODY, Caller
from gateway.core.control import BulkProgress
from gateway.core.errors import GatewayError, Internal, QuotaExceeded, shortened
from gateway.core.run_filter import RunFilter
from gateway.core.tokens import TokenParams

MOST_LINES: Final = 10_000
"""How many lines may wait to be written."""

MOST_RUNS: Final = 10
"""How many runs one line names."""

_DIGEST: Final = 16
_BATCH: Final = 256
_LONGEST_NAME: Final = 256

_log = logging.getLogger(__name__)


class AuditLine(Struct, omit_defaults=True):
    """One line. What is empty is left out."""

    time: str = ""
    identity: str = ""
    namespace: str = ""
    front: str = ""
    peer: str = ""
    method: str = ""
    runs: tuple[str, ...] = ()
    more_runs: int = 0
    inside: str = ""
    """The run whose component called."""
    filter: str = ""
    """A digest of the filter of a call for many runs: the same for the same filter."""
    counts: dict[str, int] = {}
    permissions: tuple[str, ...] = ()
    """What a token that was made is good for."""
    code: str = ""
    reason: str = ""
    quota: str = ""
    count: int = 0
    """How many failures the line stands for, or lines were lost."""


class AuditEntry:
    """What is to be told of a call: a line is written when the context is left, with the outcome."""

    __slots__ = ("_log", "line")

    def __init__(self, log: "AuditLog | None", line: AuditLine) -> None:
        self._log = log
        self.line = line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if self._log is not None:
            self._log.ended(self.line, error)

    def names(self, *runs: str) -> None:
        """The call is about these runs."""
        if self._log is not None:
            self.line.runs, self.line.more_runs = runs[:MOST_RUNS], max(0, len(runs) - MOST_RUNS)

    def concerns(self, wanted: RunFilter) -> None:
        """The call is about all runs that match a filter. Its digest is told: the same for the same filter."""
        if self._log is not None:
            digest = sha256(msgspec.json.encode(wanted, order="sorted"))
            self.line.filter = digest.hexdigest()[:_DIGEST]

    def came_to(self, progress: BulkProgress) -> None:
        """So many runs have been changed by now."""
        if self._log is not None:
            self.line.counts = msgspec.structs.asdict(progress)

    def makes_token(self, params: TokenParams) -> None:
        """The call makes a token: its permissions are told, and the run that it is for."""
        if self._log is not None:
            self.line.permissions = tuple(params.permissions)
            self.names(*([] if params.run_id is None else [params.run_id]))


NO_ENTRY: Final = AuditEntry(None, AuditLine())
"""The entry of a call that is not told of."""


class AuditLog:
    """Writes lines to `file`; without one, nothing is told, and entries cost next to nothing."""

    def __init__(self, file: AuditFile | None = None) -> None:
        self._file = file
        self._lines: SimpleQueue[AuditLine | None] = SimpleQueue()
        self._lost = 0
        self._failures = FailureCounts()
        self._thread: threading.Thread | None = None
        self._stops = False
        if file is not None:
            self._thread = threading.Thread(target=self._write, name="audit-log", daemon=True)
            self._thread.start()

    @property
    def on(self) -> bool:
        """Whether anything is told."""
        return self._file is not None

    def entry(self, caller: Caller, front: str, method: str, peer: str = "", inside: str = "") -> AuditEntry:
        """The entry of a call by `front`, from a client at `peer` or a component of the run `inside`."""
        if self._file is None:
            return NO_ENTRY
        line = AuditLine(
            identity=shortened(caller.identity, _LONGEST_NAME),
            namespace=caller.view.namespace or "",
            front=front,
            peer=peer,
            method=shortened(method, _LONGEST_NAME),
            inside=inside,
        )
        return AuditEntry(self, line)

    def refused(self, error: GatewayError, front: str, method: str, peer: str, caller: Caller = ANYBODY) -> None:
        """A call was refused before it began."""
        if self._file is not None:
            self.ended(self.entry(caller, front, method, peer).line, error)

    def ended(self, line: AuditLine, error: BaseException | None) -> None:
        """A call has ended: it succeeded if there is no error."""
        if error is None:
            line.code = "OK"
        else:
            _describe(line, error)
            kind = FailureKind(line.identity, line.front, line.method, line.code, line.quota or line.reason)
            hidden = self._failures.hides
            if not self._failures.tells(kind):
                if not hidden:
                    self._lines.put(None)  # The thread has to look at the end of the period.
                return
        line.time = _now()
        if self._lines.qsize() >= MOST_LINES:
            self._lost += 1
        else:
            self._lines.put(line)

    def close(self) -> None:
        """Write what is left, within a second, and close the file. Nothing is told after that."""
        if self._thread is None or self._file is None:
            return
        self._stops = True
        self._lines.put(None)
        self._thread.join(1.0)
        if self._thread.is_alive():
            _log.warning("the audit log could not be written to its end")
        else:
            self._file.close()
        self._file = self._thread = None

    def _write(self) -> None:
        """Write lines until the log is closed: the thread."""
        file, encoder = self._file, msgspec.json.Encoder()
        assert file is not None
        failed = 0
        while True:
            lines = self._next()
            lost, self._lost = self._lost + failed, 0
            if lost:
                lines.append(AuditLine(_now(), code="UNKNOWN", reason="LINES_LOST", count=lost))
            failed = file.append([encoder.encode(line) + b"\n" for line in lines]) if lines else 0
            if self._stops and self._lines.empty():
                return

    def _next(self) -> list[AuditLine]:
        """The next lines: as many as there are, or what was not told one by one if a period has ended."""
        lines: list[AuditLine | None] = []
        try:
            lines.append(self._lines.get(timeout=PERIOD if self._failures.hides else None))
            while len(lines) < _BATCH:
                lines.append(self._lines.get_nowait())
        except Empty:
            pass
        told = [line for line in lines if line is not None]
        for kind, number in self._failures.over(at_once=self._stops):
            told.append(AuditLine(_now(), **kind._asdict(), count=number))
        return told


def _describe(line: AuditLine, error: BaseException) -> None:
    """Let a line tell the outcome of a call that has failed. Unexpected errors are told to clients as Internal."""
    if not isinstance(error, Exception):
        line.code = line.reason = "CANCELLED"
        return
    told: GatewayError | type[GatewayError] = error if isinstance(error, GatewayError) else Internal
    line.code, line.reason = told.grpc_status, told.reason
    if isinstance(told, QuotaExceeded):
        line.quota = told.quota


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


SILENT: Final = AuditLog()
"""The log of a gateway without one."""
