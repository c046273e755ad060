"""What the SDK runs on: threads of its own, in Rust, which one process has once."""

import logging
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

_log = logging.getLogger(__name__)


def sdk_line(record: logging.LogRecord) -> bool:
    """A filter of records of the SDK: gives all of them one template, so that what comes again is only counted."""
    entry = getattr(record, "temporal_log", None)
    problem = None if entry is None else entry.fields.get("error")
    text = record.getMessage() if problem is None else f"{record.getMessage()}: {problem}"
    record.msg, record.args = "the SDK of Temporal: %s", (shortened(" ".join(text.split()), _LONGEST),)
    return True


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
