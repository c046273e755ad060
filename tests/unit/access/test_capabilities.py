"""What component servers are told instead of credentials."""

import pytest

from gateway.access.capabilities import Capabilities, ServersAccess
from gateway.access.presented import Presented
from gateway.core.caller import CallerView
from gateway.core.errors import Unauthenticated
from gateway.core.owner import Permission


def test_a_capability_tells_the_server_that_it_was_issued_for() -> None:
    capabilities = Capabilities(b"k" * 32)
    caller = capabilities.caller(capabilities.issue("7/sdk"))
    assert caller.view == CallerView("~/7/sdk")
    assert caller.permissions == {Permission.READ_BLOBS, Permission.WRITE_BLOBS}


def test_nothing_else_is_a_capability() -> None:
    capabilities = Capabilities(b"k" * 32)
    issued = capabilities.issue("7/sdk")
    name, _, mac = issued.partition(".")
    others = (
        Capabilities(Capabilities.new_key()).issue("7/sdk"),
        f"{capabilities.issue('8/sdk').partition('.')[0]}.{mac}",
    )
    for text in ("", ".", name, f"{name}.", f".{mac}", f"{issued}x", f"é.{mac}", "x" * 5_000, *others):
        with pytest.raises(Unauthenticated):
            capabilities.caller(text)


async def test_a_process_for_component_servers_lets_in_nobody_else() -> None:
    access = ServersAccess()
    with pytest.raises(Unauthenticated):
        access.known(Presented("Bearer x"))
    with pytest.raises(Unauthenticated):
        await access.identify(Presented())
    await access.close()
