"""The limits of callers and the audit log of a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.access.audit import SILENT, AuditLog
from gateway.access.audit_file import AuditFile
from gateway.access.limits import NO_LIMITS, CallerLimits
from gateway.concurrency.counter_table import CounterTable
from gateway.core.server_sockets import socket_path
from gateway.core.socket_directory import COUNTERS
from gateway.server.backend import Backend
from gateway.server.limit_settings import LimitSettings
from gateway.server.settings import StartError


@contextmanager
def overseen(backend: Backend, settings: LimitSettings, upstream: str | None = None) -> Iterator[None]:
    """Let the access of a backend know the limits of callers and the audit log, while the block lasts.

    What components ask for is told to the log, and not limited.

    `upstream` is the address of the runtime of a worker: all workers count in a file beside it. Raises StartError if a
    file cannot be opened.
    """
    rules, in_all = settings.limit_rules, settings.limit_in_all
    shared = None if upstream is None or not (rules or in_all) else socket_path(upstream)
    table = None if shared is None else CounterTable.join(str(Path(shared).with_name(COUNTERS)))
    access, of_components = backend.access, backend.component_access
    try:
        access.limits = CallerLimits(rules, in_all, table=table, stored=backend.runtime.stored_bytes)
        with audited(settings) as access.audit:
            of_components.audit = access.audit
            yield
    finally:
        access.limits, access.audit = NO_LIMITS, SILENT
        of_components.audit = SILENT
        if table is not None:
            table.close()


def storage_limits(backend: Backend, settings: LimitSettings) -> CallerLimits:
    """What callers may store, for the process with the runtime of workers: only it can tell. The rest they count."""
    in_all = settings.limit_in_all
    return CallerLimits(
        [rule.of_storage for rule in settings.limit_rules],
        None if in_all is None else in_all.of_storage,
        stored=backend.runtime.stored_bytes,
    )


@contextmanager
def audited(settings: LimitSettings) -> Iterator[AuditLog]:
    """The audit log, while the block lasts. Raises StartError if its file cannot be opened."""
    if settings.audit_log is None:
        yield AuditLog()
        return
    try:
        log = AuditLog(AuditFile(settings.audit_log))
    except OSError as error:
        raise StartError(f"cannot open {settings.audit_log}: {error.strerror} (--audit-log)") from None
    try:
        yield log
    finally:
        log.close()
