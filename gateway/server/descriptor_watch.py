"""Says in the log when this process has no descriptor left: what it does then says nothing, or far too much."""

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from gateway.core.descriptors import descriptor_limit

LOOK_SECONDS: Final = 1.0
LOG_SECONDS: Final = 60.0

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)

_log = logging.getLogger(__name__)


@asynccontextmanager
async def watched_descriptors(look: float = LOOK_SECONDS, log: float = LOG_SECONDS) -> AsyncIterator[None]:
    """Look every `look` seconds whether a descriptor can be had; say every `log` seconds that none can."""
    native_log = logging.getLogger("pygrpc_native.server")
    native_log.addFilter(_is_news)
    watching = asyncio.create_task(_watch(look, log))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        native_log.removeFilter(_is_news)


async def _watch(look: float, log: float) -> None:
    clock = asyncio.get_running_loop().time
    said = -log
    while True:
        await asyncio.sleep(look)
        if clock() - said >= log and not _is_one_left():
            said = clock()
            _log.error(
                "all %d descriptors are in use: new connections wait or are reset; raise the limit (ulimit -Hn)",
                descriptor_limit(),
            )


def _is_one_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in _EXHAUSTED
    return True


def _is_news(record: logging.LogRecord) -> bool:
    """The native transport logs twenty times a second that it cannot accept a connection."""
    return "Too many open files" not in record.getMessage()
