"""All promises of the kit, in the order in which they are tried."""

from typing import Final

from gateway.conformance import (
    client_promises,
    client_set_promises,
    client_watch_promises,
    get_ended,
    get_exact,
    get_open,
    get_refused,
    get_resumed,
    set_members,
    set_resumed,
    tokens_elsewhere,
    watch_runs,
)
from gateway.conformance.promise import Promise

PROMISES: Final[tuple[Promise, ...]] = (
    *get_ended.PROMISES,
    *get_exact.PROMISES,
    *get_resumed.PROMISES,
    *get_open.PROMISES,
    *get_refused.PROMISES,
    *watch_runs.PROMISES,
    *set_members.PROMISES,
    *set_resumed.PROMISES,
    *tokens_elsewhere.PROMISES,
)

CLIENT_PROMISES: Final[tuple[Promise, ...]] = (
    *client_promises.PROMISES,
    *client_watch_promises.PROMISES,
    *client_set_promises.PROMISES,
)
"""Those that clients are tried by."""
