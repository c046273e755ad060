"""What component servers are told of the blob API, and where they use it."""

import pytest

from gateway.access.access import OpenAccess
from gateway.access.capabilities import Capabilities, ServersAccess
from gateway.core.errors import RunNotFound
from gateway.core.owner import Owner, Permission
from gateway.server.component_blobs import check_blob_api_url, namespaces_of, url_for
from gateway.server.settings import SettingsError

URL = "http://host:1/prefix/api/v1/blobs"


def test_a_capability_stands_before_the_path() -> None:
    access = ServersAccess()
    access.capabilities = Capabilities(b"k" * 32)
    told = url_for(access, URL, "1/sdk")
    assert told == f"http://host:1/prefix/c/{access.capabilities.issue('1/sdk')}/api/v1/blobs"
    assert url_for(access, None, "1/sdk") is None
    assert url_for(OpenAccess(), URL, "1/sdk") == URL


def test_a_url_without_a_place_for_it_is_refused() -> None:
    check_blob_api_url(URL)
    check_blob_api_url(None)
    with pytest.raises(SettingsError, match="--blob-api-url"):
        check_blob_api_url("http://host:1/blobs")


async def test_namespaces_are_those_of_owners_that_may() -> None:
    owners = {
        "reader": Owner("a", "alice", (Permission.READ_BLOBS,)),
        "admin": Owner("b", "root", (Permission.ADMIN,)),
        "submitter": Owner("c", "bob", (Permission.SUBMIT,)),
        "nobody": None,
    }

    async def owner_of(task: str) -> Owner | None:
        if task not in owners:
            raise RunNotFound("it has ended")
        return owners[task]

    assert await namespaces_of([*owners, "gone"], Permission.READ_BLOBS, owner_of) == {"a", "b", "default"}
    assert await namespaces_of(["reader"] * 200, Permission.WRITE_BLOBS, owner_of) == set()
