"""What component servers are told of the blob API, and in which namespaces they use it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

from gateway.access.access import Access
from gateway.core.caller import Caller
from gateway.core.errors import GatewayError
from gateway.core.owner import DEFAULT_NAMESPACE, Owner, Permission
from gateway.fronts.http.entrance import BLOBS_PATH, CAPABILITY_PATH
from gateway.server.settings import SettingsError

_AT_ONCE: Final = 64
"""For how many tasks the owner is looked up in a turn of the event loop."""


def check_blob_api_url(blob_api_url: str | None) -> None:
    """Raise SettingsError if a capability has no place in a URL that the settings give to the blob API."""
    if blob_api_url is not None and not blob_api_url.endswith(BLOBS_PATH):
        raise SettingsError(f"with identities, it has to end in {BLOBS_PATH} (--blob-api-url)")


def url_for(access: Access, blob_api_url: str | None, server: str) -> str | None:
    """What the server with this name is told of the blob API: with a capability in it, if there are identities."""
    if blob_api_url is None or access.capabilities is None:
        return blob_api_url
    before = blob_api_url.removesuffix(BLOBS_PATH)
    return f"{before}{CAPABILITY_PATH}{access.capabilities.issue(server)}{BLOBS_PATH}"


async def namespaces_of(
    tasks: Iterable[str], permission: Permission, owner_of: Callable[[str], Awaitable[Owner | None]]
) -> set[str]:
    """The namespaces of the runs whose tasks these are, and whose owners have a permission."""
    found = set()
    for number, scope in enumerate([*tasks], 1):
        with suppress(GatewayError):
            caller = Caller.of_component(await owner_of(scope))
            caller.require(permission)
            found.add(caller.view.namespace or DEFAULT_NAMESPACE)
        if not number % _AT_ONCE:
            await asyncio.sleep(0)
    return found
