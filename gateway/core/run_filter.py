"""Which runs: the filter of lists, of sets, and of calls that concern many runs."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, field
from msgspec.msgpack import encode
from msgspec.structs import replace

from gateway.core.clock import LATEST
from gateway.core.errors import InvalidParams, Violation
from gateway.core.model import (
    MAX_KEY_LENGTH,
    Labels,
    Message,
    Nanoseconds,
    RunState,
    RunStatus,
    blob_digest,
    blob_id_of,
    canonical_run_id,
)
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.validation import validated

MAX_FLOW_IDS: Final = 100
"""The most flows that a filter names."""

MAX_STATES: Final = 100
"""The most states that a request names, some of them more than once."""

_DIGEST_LENGTH: Final = 8
_PERSON: Final = b"runs-gw filter"

_T = TypeVar("_T")

_Pattern = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH + 1)]


class RunOrder(StrEnum):
    """The order of runs in a list."""

    NEWEST_FIRST = "newestFirst"
    OLDEST_FIRST = "oldestFirst"


class RunFilter(Message, frozen=True, kw_only=True):
    """A run matches if it meets every condition that is given; without any, all runs match.

    `flow_label` and `flow_name` match exactly, or, with a `*` at the end, what begins with the text before it. Ids are
    canonical. `created_after` is included, `created_before` is not. `namespace` is none of a client's conditions: the
    server sets it to that of its caller.
    """

    states: tuple[RunState, ...] = ()
    flow_ids: Annotated[tuple[str, ...], Meta(max_length=MAX_FLOW_IDS)] = ()
    flow_label: _Pattern | None = None
    flow_name: _Pattern | None = None
    created_after: Nanoseconds | None = None
    created_before: Nanoseconds | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    roots_only: bool = False
    labels: Labels = field(default_factory=dict)
    namespace: str | None = None

    def matches(self, run: RunStatus) -> bool:
        """Whether a run meets every condition."""
        return (
            (not self.states or run.status in self.states)
            and (not self.flow_ids or run.flow_id in self.flow_ids)
            and (self.flow_label is None or fits(self.flow_label, run.flow_label))
            and (self.flow_name is None or fits(self.flow_name, run.flow_name))
            and (self.created_after is None or run.created_at >= self.created_after)
            and (self.created_before is None or run.created_at < self.created_before)
            and (self.parent_run_id is None or run.parent_run_id == self.parent_run_id)
            and (self.root_run_id is None or run.root_run_id == self.root_run_id)
            and not (self.roots_only and run.root_run_id is not None)
            and (not self.labels or self.labels.items() <= run.labels.items())
            and (self.namespace is None or run.namespace == self.namespace)
        )

    def digest(self) -> bytes:
        """8 bytes that tell filters apart; every process makes the same of the same filter.

        The default namespace counts as none: tokens that were given before there were identities stay valid in it.
        """
        if self.namespace == DEFAULT_NAMESPACE:
            return replace(self, namespace=None).digest()
        return hashlib.blake2b(encode(self, order="sorted"), digest_size=_DIGEST_LENGTH, person=_PERSON).digest()


def asked_states(given: Collection[_T], read: Callable[..., RunState], *path: str | int) -> tuple[RunState, ...]:
    """The states at `path`, each once, in the order of their enumeration; `read` reads one, given its path.

    Raises InvalidParams if there are more than MAX_STATES, or if `read` does.
    """
    if len(given) > MAX_STATES:
        raise InvalidParams.field(*path, description=f"expected at most {MAX_STATES} entries")
    asked = {read(each, *path, index) for index, each in enumerate(given)}
    return tuple(state for state in RunState if state in asked)


def canonical_filter(given: Mapping[str, Any], *path: str | int) -> RunFilter:
    """The filter at `path` with these fields, whose ids may have either spelling and whose lists may repeat members.

    A time beyond those at which runs can be accepted becomes the last of them.

    Raises InvalidParams, naming each one, if fields break their rules.
    """
    wanted = validated(RunFilter, given, *path)
    faults: list[Violation] = []
    changed: dict[str, Any] = {"states": tuple(state for state in RunState if state in wanted.states)}
    digests = list(map(blob_digest, wanted.flow_ids))
    what = "expected 'sha256:' and 64 hex digits, or the digits alone"
    faults += [Violation((*path, "flow_ids", index), what) for index, found in enumerate(digests) if found is None]
    changed["flow_ids"] = tuple(sorted({blob_id_of(digest) for digest in digests if digest is not None}))
    for name in ("parent_run_id", "root_run_id"):
        text: str | None = getattr(wanted, name)
        changed[name] = None if text is None else canonical_run_id(text)
        if text is not None and changed[name] is None:
            faults.append(Violation((*path, name), "expected a UUID"))
    for name in ("created_after", "created_before"):
        moment: Nanoseconds | None = getattr(wanted, name)
        changed[name] = None if moment is None else max(-LATEST, min(moment, LATEST))
    for name in ("flow_label", "flow_name"):
        faults += [Violation((*path, name), what) for what in _faults_of_pattern(getattr(wanted, name))]
    if faults:
        raise InvalidParams(faults)
    return replace(wanted, **changed)


def _faults_of_pattern(pattern: str | None) -> list[str]:
    if pattern is None:
        return []
    text = pattern.removesuffix("*")
    faults = ["a '*' may stand at the end only"] if "*" in text else []
    return [*faults, f"at most {MAX_KEY_LENGTH} characters"] if len(text) > MAX_KEY_LENGTH else faults


def fits(pattern: str, text: str | None) -> bool:
    """Whether a text is what a pattern of a filter asks for."""
    if text is None:
        return False
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
