"""What the SDK runs on: threads of its own, in Rust, which one process has once."""

import logging
import re
from functools import cache
from typing import Final

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from gateway.runtimes.temporal.sdk_metrics import BUFFER_SIZE, SdkMetrics
from gateway.telemetry.log_text import shortened

_LONGEST: Final = 300
"""How much of what the SDK says is told."""

_KIND: Final = 3
"""How many words tell what a line is about: the name of a call is the third."""

_UNASKED: Final = "Query not found when attempting to respond"
_REPEATED: Final = "gRPC call "
"""How lines begin: of an answer that nobody waits for, and of a call that is made again after several failures."""

_STATUS: Final = re.compile(r'Status \{ code: (\w+), message: "((?:[^"\\]|\\.)*)"')

_log = logging.getLogger(__name__)


def sdk_line(record: logging.LogRecord) -> bool:
    """A filter of records of the SDK: those that begin alike have one template, so that what comes again is counted.

    False for what says nothing: an answer comes too late if who has asked waits no longer, as when the run has ended.
    """
    text = record.getMessage()
    if text.startswith(_UNASKED):
        return False
    entry = getattr(record, "temporal_log", None)
    problem = None if entry is None else entry.fields.get("error")
    words = " ".join((text if problem is None else f"{text}: {_said(str(problem))}").split())
    *kind, rest = shortened(words, _LONGEST).split(" ", _KIND)
    record.msg, record.args = f"the SDK of Temporal: {' '.join(kind).replace('%', '%%')} %s", (rest,)
    if text.startswith(_REPEATED) and record.levelno > logging.WARNING:
        # It goes on, and who waits for the call is told by it. That the engine is away is told by `EnginePresence`.
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _said(problem: str) -> str:
    """What an error of gRPC says, without the sources that Rust tells of it."""
    status = _STATUS.search(problem)
    return problem if status is None else f"{status[1]}: {status[2]}"


@cache
def sdk_runtime() -> Runtime:
    """The runtime of this process. It lasts as long as the process."""
    _log.addFilter(sdk_line)
    forwarding = LogForwardingConfig(
        _log, append_target_to_name=False, prepend_target_on_message=False, append_log_fields_to_message=False
    )
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(levels, forwarding), metrics=_buffer()))


@cache
def sdk_metrics() -> SdkMetrics:
    """What counts the events of the runtime. Somebody has to follow it while there is a connection."""
    sdk_runtime()
    return SdkMetrics(_buffer())


@cache
def _buffer() -> MetricBuffer:
    return MetricBuffer(BUFFER_SIZE, MetricBufferDurationFormat.SECONDS)
