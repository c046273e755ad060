"""The caller of a method: who it is, what it may do, and which runs and blobs there are for it."""

from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.errors import InvalidParams, PermissionDenied
from gateway.core.model import MAX_LABELS, RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE, Owner, Permission
from gateway.core.run_filter import RunFilter

EVERYTHING: Final = frozenset(Permission)


SERVER_NAMESPACE: Final = "~/"
"""What stands before the name of a component server where the namespace of its caller would: it has none of its own."""


class CallerView(Struct, frozen=True, gc=False):
    """The part of the runs and blobs that exists for a caller: those of a namespace, or of all if it is None.

    With `run_id` it is this run alone; with `labels`, runs that have these labels.
    """

    namespace: str | None = None
    run_id: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def shows(self, run: RunStatus) -> bool:
        """Whether a run is in the view."""
        return (
            (self.namespace is None or run.namespace == self.namespace)
            and (self.run_id is None or run.run_id == self.run_id)
            and (not self.labels or all(run.labels.get(name) == value for name, value in self.labels))
        )


ALL: Final = CallerView()
"""The view of everything: nothing is hidden."""


class Caller(Struct, frozen=True, gc=False):
    """Somebody who calls. `identity` is its name, "" for anybody where there are no identities.

    `expires` is the time, in seconds since the epoch, at which its credentials end, or None.
    """

    identity: str = ""
    view: CallerView = ALL
    permissions: frozenset[Permission] = EVERYTHING
    namespaces: tuple[str, ...] = ()
    """The namespaces that are its own; `admin` may name any."""
    expires: float | None = None

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied if the caller lacks a permission."""
        held = self.permissions
        if permission not in held and Permission.ADMIN not in held:
            raise PermissionDenied(f"the permission {permission} is missing")

    @property
    def owner(self) -> Owner | None:
        """The owner of the runs that the caller submits; None for anybody."""
        if not self.identity:
            return None if self.view.namespace in (None, DEFAULT_NAMESPACE) else Owner(self.view.namespace)
        namespace = DEFAULT_NAMESPACE if self.view.namespace is None else self.view.namespace
        return Owner(namespace, self.identity, tuple(sorted(self.permissions)), self.view.labels)

    @classmethod
    def of_component(cls, owner: Owner | None) -> Self:
        """The caller that the components of a run are: its owner, in its namespace only."""
        if owner is None:
            return cls(view=CallerView(DEFAULT_NAMESPACE))
        permissions = EVERYTHING if not owner.identity else frozenset(owner.permissions)
        return cls(owner.identity, CallerView(owner.namespace, None, owner.labels), permissions, (owner.namespace,))


ANYBODY: Final = Caller()
"""The caller where there are no identities: it may do everything, with everything."""


def owned(params: SubmitParams, caller: Caller) -> SubmitParams:
    """The parameters of a run that will belong to its caller, with the labels that its view demands.

    Raises PermissionDenied if the caller would not see the run.
    """
    view = caller.view
    if view.run_id is not None:
        raise PermissionDenied("the credentials are for one run, and submit no others")
    if not view.labels:
        return params if caller is ANYBODY else replace(params, owner=caller.owner)
    labels = {**params.labels}
    for name, value in view.labels:
        if labels.setdefault(name, value) != value:
            raise PermissionDenied("the credentials are for runs with other labels")
    if len(labels) > MAX_LABELS:
        raise InvalidParams.field("labels", description=f"more than {MAX_LABELS}, those of the credentials included")
    return replace(params, owner=caller.owner, labels=labels)


def narrowed(wanted: RunFilter, view: CallerView) -> RunFilter | None:
    """The filter for the runs of a view that match `wanted`; None if there can be none.

    A view of one run has no filter: its lists are made from the run.
    """
    if view.namespace is not None:
        if wanted.namespace not in (None, view.namespace):
            return None
        wanted = replace(wanted, namespace=view.namespace)
    if not view.labels:
        return wanted
    labels = {**wanted.labels}
    for name, value in view.labels:
        if labels.setdefault(name, value) != value:
            return None
    return replace(wanted, labels=labels)
