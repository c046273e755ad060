"""The namespace of a call on another gateway, as metadata, and whether that gateway has kept to it."""

from typing import TypeAlias

import msgspec

from gateway.adapter.remote_errors import refuse_without_namespaces
from gateway.core.model import RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, NAMESPACE_KEY, OWNER_KEY, Owner

CallMetadata: TypeAlias = tuple[tuple[str, str | bytes], ...] | None


def call_metadata(namespace: str | None) -> CallMetadata:
    """What tells the namespace of a call; with None, the other gateway takes that of the identity of this one."""
    return None if namespace is None else ((NAMESPACE_KEY, namespace),)


def submit_metadata(owner: Owner | None, *, trusted: bool) -> CallMetadata:
    """What tells to whom a run is to belong; with `trusted`, the other side believes who the owner is."""
    if owner is None:
        return None
    named = (NAMESPACE_KEY, owner.namespace)
    return (named, (OWNER_KEY, msgspec.msgpack.encode(owner))) if trusted else (named,)


def blob_metadata(namespace: str) -> CallMetadata:
    """What tells where a blob is put. Whatever has no identity puts into the default namespace without naming it."""
    return None if namespace == DEFAULT_NAMESPACE else call_metadata(namespace)


def refuse_submitted_elsewhere(run: RunStatus, params: SubmitParams) -> None:
    """Raise as `refuse_without_namespaces` does if a run was accepted in another namespace than that of its owner."""
    if params.owner is not None:
        refuse_without_namespaces(run, params.owner.namespace)
