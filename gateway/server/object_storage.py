"""The object storage of a gateway."""

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from gateway.concurrency.memory_account import MemoryAccount
from gateway.server.settings import ServeSettings, SettingsError, StartError
from gateway.storage.object_backend import ObjectsError
from gateway.storage.objects import ObjectStore
from gateway.storage.payload_keys import PayloadKeys
from gateway.storage.storage_watch import StorageWatch
from gateway.telemetry.gateway_metrics import OBJECT_STORAGE_UP


async def open_objects(
    settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack, keys: PayloadKeys | None = None
) -> ObjectStore:
    """The object storage that the settings name; `stack` closes it. It may be away. `keys` encrypt its objects.

    Raises SettingsError if they name none, and StartError if it cannot be used.
    """
    if settings.blobs is None:
        raise SettingsError("blobs: is needed for this runtime; give --blobs, or RUNS_GATEWAY_BLOBS")
    try:
        store = await ObjectStore.open(settings.blobs, account, keys)
    except ObjectsError as error:
        raise StartError(f"the object storage cannot be used: {error} (--blobs)") from None
    stack.push_async_callback(store.close)
    stack.push_async_callback(StorageWatch(store).close)
    stack.enter_context(OBJECT_STORAGE_UP.read_from(lambda: not store.is_away, urlsplit(settings.blobs).scheme))
    return store
