"""The settings of limits of callers, and of the log of what they do."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.access.limit_rules import LimitRule
from gateway.server.setting_forms import ByteSize, FileOnly, FilePath, FlagValue, OpenCalls, WholeNumber

_Size = Annotated[ByteSize, Field(ge=1, lt=1 << 62)]
_Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
_Many = Annotated[WholeNumber, Field(ge=1, le=10**9)]


class LimitsInAll(BaseModel):
    """How much all callers may do together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_second: _Rate | None = None
    burst: _Many | None = None
    max_calls: OpenCalls | None = None
    max_streams: OpenCalls | None = None
    max_followed: OpenCalls | None = None
    items_per_minute: _Many | None = None
    max_stored_bytes: _Size | None = None
    max_memory: _Size | None = None


class IdentityLimits(LimitsInAll):
    """How much each identity may do that a rule names, or each that no other rule names."""

    identities: tuple[Annotated[str, Field(max_length=1_024)], ...] = ()


class LimitSettings(BaseModel):
    """The limits of callers, and the log of what they do."""

    limits: Annotated[tuple[IdentityLimits, ...], FileOnly()] = Field(
        default=(),
        description="Limits of callers, of which the first that names an identity counts: tables with `identities` "
        "(with a `*` at the end: what begins so; without any: all others), `requests_per_second`, `burst`, "
        "`max_calls`, `max_streams`, `max_followed`, `items_per_minute`, `max_stored_bytes` and `max_memory`.",
    )
    limits_in_all: Annotated[LimitsInAll | None, FileOnly()] = Field(
        default=None,
        description="The same limits for all callers together: a table without `identities`.",
    )
    audit_log: Annotated[FilePath | None, FlagValue("FILE|-")] = Field(
        default=None,
        description="A file for the audit log, or `-` for standard error: a line of JSON for each submit, cancel, "
        "delete and token, and for calls that are refused.",
    )

    @property
    def limit_rules(self) -> tuple[LimitRule, ...]:
        """The limits of identities, in the order in which they count."""
        return tuple(LimitRule(**dict(rule)) for rule in self.limits)

    @property
    def limit_in_all(self) -> LimitRule | None:
        """The limits of all callers together."""
        return None if self.limits_in_all is None else LimitRule(**dict(self.limits_in_all))
