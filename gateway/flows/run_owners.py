"""The owners of runs as the journal keeps them, and what is kept by namespaces.

What belongs to the default namespace is kept under the names that it had before there were namespaces.
"""

from functools import lru_cache
from typing import Final

import msgspec

from gateway.core.model import JsonText
from gateway.core.owner import DEFAULT_NAMESPACE, Owner

_KNOWN: Final = 1_024
"""Of how many owners both forms are kept: many runs have the same one."""

_BETWEEN: Final = "@"
"""What stands between the id of a blob and a namespace. Neither has this character."""

_DECODER: Final = msgspec.json.Decoder(Owner)


@lru_cache(_KNOWN)
def owner_to_json(owner: Owner) -> JsonText:
    """The text in which an owner is kept."""
    return msgspec.json.encode(owner).decode()


@lru_cache(_KNOWN)
def owner_from_json(text: JsonText) -> Owner:
    """The owner that was kept as this text."""
    return _DECODER.decode(text)


def namespace_of(owner: JsonText | None) -> str:
    """The namespace of an owner that is kept; None is nobody, in the default namespace."""
    return DEFAULT_NAMESPACE if owner is None else owner_from_json(owner).namespace


def key_scope(namespace: str, scope: str) -> str:
    """The scope in which an idempotency key is unique, of a scope in a namespace.

    A scope is the path of a task, or empty: it has no space.
    """
    return scope if namespace == DEFAULT_NAMESPACE else f"{namespace} {scope}"


def blob_key(blob_id: str, namespace: str) -> str:
    """The key of a blob in a namespace: each namespace has its own copy."""
    return blob_id if namespace == DEFAULT_NAMESPACE else f"{blob_id}{_BETWEEN}{namespace}"


def blob_id_of_key(key: str) -> str:
    """The id of the blob with this key."""
    return key.partition(_BETWEEN)[0]


def namespace_of_blob(key: str) -> str:
    """The namespace of the blob with this key."""
    return key.partition(_BETWEEN)[2] or DEFAULT_NAMESPACE


def keys_of_blob(blob_id: str) -> tuple[str, str]:
    """The bounds of the keys of a blob in all namespaces, the first one included and the second one not."""
    return blob_id, f"{blob_id}{chr(ord(_BETWEEN) + 1)}"
