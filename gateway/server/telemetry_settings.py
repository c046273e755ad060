"""The settings of what a server tells of its work: its log, its metrics, its traces."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from gateway.core.addresses import check_address
from gateway.server.setting_forms import FlagValue, LogLevel, expand_home

OFF: Final = "off"
"""What is said in place of an address where nothing is to listen."""


def _check_metrics_address(address: str) -> str:
    if address == OFF:
        return address
    if address.startswith("unix:~"):
        address = f"unix:{expand_home(address.removeprefix('unix:'))}"
    return check_address(address)


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


MetricsAddress = Annotated[str, FlagValue("HOST:PORT|off"), AfterValidator(_check_metrics_address)]


def metrics_address_field(default: str) -> Any:
    """The setting of the address of metrics, for a server whose default is this one."""
    return Field(
        default=default,
        description="Where `GET /metrics` is served, in the formats of Prometheus: `HOST:PORT`, where port 0 takes a "
        "free one, `unix:PATH`, or `off`. If the default one is taken, the gateway starts without.",
    )


class TelemetrySettings(BaseModel):
    """What a server tells of its work."""

    metrics_address: MetricsAddress = metrics_address_field("127.0.0.1:9464")
    traces: Annotated[Literal["off", "otlp"], BeforeValidator(_lower)] = Field(
        default="off",
        description="`otlp` sends spans of OpenTelemetry to a collector; the variables `OTEL_*` say to which one. It "
        "needs the extra `otel`.",
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        default="text",
        description="How the log is written: lines for people, or JSON objects, one a line.",
    )
    log_level: LogLevel = Field(
        default="info",
        description="What the log has, on standard error: messages of this level and above. What component servers "
        "print is of level info.",
    )
