"""Objects in a service elsewhere: S3 and what speaks its protocol, Google Cloud Storage, or Azure.

Credentials and endpoints come from the environment, in the variables that each service has.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gateway.storage.object_backend import (
    READ_AT_ONCE,
    ObjectBackend,
    ObjectMissing,
    ObjectsAway,
    ObjectsError,
    StoredObject,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

RETRY_SECONDS: Final = 8.0
"""How long a request is tried again that meets no server, or one that is overloaded or broken."""

_RETRY: Final["RetryConfig"] = {
    "max_retries": 100,
    "retry_timeout": timedelta(seconds=RETRY_SECONDS),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=1), "base": 2},
}

_VARIABLES: Final = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
"""How the variables of each service begin."""

_FROM_ENVIRONMENT: Final = (
    "allow_http",
    "allow_invalid_certificates",
    "proxy_url",
    "proxy_ca_certificate",
    "proxy_excludes",
    "randomize_addresses",
    "user_agent",
)
"""What variables may say of connections. The library looks for them itself, but not beside what it is told."""

_SETTLING_SECONDS: Final = 0.1
"""How long threads of the library still hold objects of Python after a call has ended. Python that ends meanwhile ends
these threads, and then they abort the process.
"""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
_PASSING: Final = frozenset({"RequestTimeout", "RequestTimeTooSkewed", "SlowDown"})
"""Codes of refusals that are not for ever."""

_PASSING_STATUS: Final = frozenset({"408", "409", "425", "429"})
_METADATA: Final = re.compile(r"169\.254\.\d+\.\d+|metadata\.google\.internal|Generic (?:OAuth|Metadata)")
"""Where credentials are looked for if there are none in the environment."""


class RemoteObjects(ObjectBackend):
    """Objects below the URL of a bucket or container, and of a prefix in it."""

    def __init__(self, url: str) -> None:
        """Raises ObjectsError if the URL, or what the environment says, cannot be used."""
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise ObjectsError("needs the extra 'temporal': pip install 'runs-gateway[temporal]'") from None
        self._obstore = obstore
        try:
            self._store = from_url(url, client_options=_client_options(url), retry_config=_RETRY)
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise ObjectsError(_first_words(error)) from None

    async def put(self, key: str, data: bytes) -> None:
        with self._errors(writing=True):
            # In one request: one in parts, interrupted, would leave these.
            await self._obstore.put_async(self._store, key, data, use_multipart=False)

    async def get(self, key: str, admit: Callable[[int], None]) -> bytes:
        with self._errors():
            found = await self._obstore.get_async(self._store, key)
            size = found.meta["size"]
            admit(size)
            if size <= READ_AT_ONCE:
                return bytes(await found.bytes_async())
            # Each part is short enough to be copied on the event loop. To put them together as well is not, but it
            # needs no lock of the interpreter.
            parts = [bytes(part) async for part in found.stream(min_chunk_size=1)]
        data = await asyncio.to_thread(b"".join, parts)
        if len(data) != size:
            raise ObjectsAway("an object came in part")
        return data

    async def size(self, key: str) -> int:
        with self._errors():
            return (await self._obstore.head_async(self._store, key))["size"]

    async def delete(self, keys: Sequence[str]) -> None:
        try:
            with self._errors():
                await self._obstore.delete_async(self._store, list(keys))
        except ObjectMissing:
            # Some services delete in one request, and have no objection; of others, this is how the first one ends.
            for key in keys if len(keys) > 1 else ():
                await self.delete([key])

    async def list_objects(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        found: list[StoredObject] = []
        with self._errors():
            pages = self._obstore.list(self._store, folder or None, offset=after or None, chunk_size=limit)
            async for page in pages:
                # Not all servers know where to begin.
                found += [StoredObject(each["path"], each["size"]) for each in page if each["path"] > after]
                if len(found) >= limit:
                    break
        return found[:limit]

    async def check(self) -> None:
        """There is nothing that only services have."""

    async def close(self) -> None:
        await asyncio.sleep(_SETTLING_SECONDS)

    @contextmanager
    def _errors(self, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if writing or _code_in(str(error)) in _NO_BUCKET:
                raise ObjectsError("there is no such bucket") from None
            raise ObjectMissing from None
        except self._obstore.exceptions.BaseError as error:
            raise self._told(error) from None

    def _told(self, error: Exception) -> Exception:
        """The error without the addresses, headers and bodies that it has in its text."""
        text = str(error)
        match = _STATUS.search(text)
        status, code = match[1] if match else "", _code_in(text)
        if _METADATA.search(text):
            return ObjectsError("there are no credentials in the environment")
        denied = (self._obstore.exceptions.PermissionDeniedError, self._obstore.exceptions.UnauthenticatedError)
        if isinstance(error, denied) and code not in _PASSING:
            return ObjectsError(f"access is denied{f' ({code})' if code else ''}")
        if "BadScheme" in text:
            return ObjectsError("http needs ..._ALLOW_HTTP=true in the environment")
        reason = " ".join(filter(None, (status, code))) or "no connection"
        if status.startswith("4") and status not in _PASSING_STATUS and code not in _PASSING:
            return ObjectsError(f"the service refuses requests ({reason})")
        return ObjectsAway(reason)


def _client_options(url: str) -> "ClientConfig":
    prefix = _VARIABLES.get(url.partition(":")[0], "")
    given = {
        name: os.environ[f"{prefix}{name.upper()}"]
        for name in _FROM_ENVIRONMENT
        if os.environ.get(f"{prefix}{name.upper()}")
    }
    options: ClientConfig = {
        **given,  # type: ignore[typeddict-item]
        "connect_timeout": timedelta(seconds=3),
        # Who asks for an object says how long that may take; this is above all of it.
        "timeout": timedelta(hours=1),
        # Services close connections that nobody uses.
        "pool_idle_timeout": timedelta(seconds=30),
    }
    return options


def _code_in(text: str) -> str:
    match = _CODE.search(text)
    return match[1] if match else ""


def _first_words(error: Exception) -> str:
    """The first line of the description of settings that cannot be used, without quoted values."""
    line = str(error).partition("\n")[0]
    return re.sub(r'"[^"]*"', '"..."', line)[:200]
