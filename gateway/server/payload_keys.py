"""The keys with which a gateway encrypts what it hands to an engine, and to an object storage."""

import asyncio

from gateway.server.settings import ServeSettings, StartError
from gateway.storage.payload_keys import PayloadKeys, read_payload_keys


async def payload_keys(settings: ServeSettings) -> PayloadKeys | None:
    """The keys that the settings name; None if they name none. Raises StartError if the file cannot be used."""
    path = settings.payload_key
    if path is None:
        return None
    try:
        return await asyncio.to_thread(read_payload_keys, path)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror} (--payload-key)") from None
    except ValueError as error:
        raise StartError(f"{path}: {error} (--payload-key)") from None
