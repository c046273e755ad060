"""The object storage of a gateway."""

from contextlib import AsyncExitStack

from gateway.concurrency.memory_account import MemoryAccount
from gateway.server.settings import ServeSettings, SettingsError, StartError
from gateway.storage.object_backend import ObjectsError
from gateway.storage.objects import ObjectStore
from gateway.storage.payload_keys import PayloadKeys


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
    return store
