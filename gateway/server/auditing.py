"""Opening the audit log of a process, and opening it anew on SIGHUP."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.access.audit import AuditLog
from gateway.access.audit_file import AuditFile
from gateway.server.limit_settings import LimitSettings
from gateway.server.settings import StartError


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
        with _reopened_on_hangup(log):
            yield log
    finally:
        log.close()


@contextmanager
def _reopened_on_hangup(log: AuditLog) -> Iterator[None]:
    """Let SIGHUP open the file anew, where this process can handle signals. Elsewhere, a moved file is noticed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, log.reopen)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
