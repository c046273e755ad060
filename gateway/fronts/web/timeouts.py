"""How long a client gives a call, as the headers of each protocol say it."""

import re
from typing import Final

from gateway.core.errors import InvalidRequest, shortened

_CONNECT: Final = re.compile(r"[0-9]{1,10}")
_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {"H": 3_600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def connect_timeout(header: str | None) -> float | None:
    """Seconds, from `Connect-Timeout-Ms`. Raises InvalidRequest if it is malformed."""
    if header is None:
        return None
    if _CONNECT.fullmatch(header) is None:
        raise InvalidRequest(f"connect-timeout-ms: expected at most ten digits, not '{shortened(header)}'")
    return int(header) / 1_000


def grpc_timeout(header: str | None) -> float | None:
    """Seconds, from `grpc-timeout`. Raises InvalidRequest if it is malformed."""
    if header is None:
        return None
    match = _GRPC.fullmatch(header)
    if match is None:
        raise InvalidRequest(f"grpc-timeout: expected at most eight digits and a unit, not '{shortened(header)}'")
    return int(match[1]) * _UNITS[match[2]]
