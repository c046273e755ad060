"""How much callers may do: each identity, and all together. Beyond it they are refused before any work is done.

What is counted stands in a table that the processes of the gateway share, so limits are those of the whole gateway,
whatever connections a client has to which process. An identity without limits costs one look-up.
"""

import random
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, Self

from gateway.access.limit_rules import LimitRule, rule_for
from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.counter_table import CounterTable
from gateway.concurrency.memory_account import MemoryShare
from gateway.core.caller import Caller
from gateway.core.errors import QuotaExceeded
from gateway.core.owner import DEFAULT_NAMESPACE

MAX_IDENTITIES: Final = 10_000
"""How many identities a process remembers the limits of; the rest is looked up again."""

_CALLS, _STREAMS, _FOLLOWED, _MEMORY = range(4)
_REQUESTS, _ITEMS = range(2)

_SECOND: Final = 10**9
_MINUTE: Final = 60 * _SECOND

_PAUSE: Final = 1.0
"""Seconds after which a client should look again whether something has ended that is in flight."""

_LEAST_WAIT: Final = 0.001
_JITTER: Final = 0.25
"""By what part a wait is longer at most, so that clients that were refused together do not come back together."""


class _Limited:
    """The use that one identity, or all together, make of the gateway."""

    __slots__ = ("_cost", "_item_cost", "_key", "_name", "_room", "_row", "_table", "rule")

    def __init__(self, name: str, rule: LimitRule, table: CounterTable) -> None:
        self._name = name
        self.rule = rule
        self._table = table
        self._key = table.key_of(name)
        self._row: int | None = table.row(self._key)
        rate, items = rule.requests_per_second, rule.items_per_minute
        self._cost = 0 if rate is None else max(1, round(_SECOND / rate))
        burst = max(1, round(rate or 1)) if rule.burst is None else rule.burst
        self._room = burst * self._cost
        self._item_cost = 0 if items is None else max(1, round(_MINUTE / items))

    @property
    def row(self) -> int:
        """Where its counts stand. Raises QuotaExceeded if too many others count something."""
        row = self._row
        if row is None or not self._table.has(row, self._key):
            row = self._row = self._table.row(self._key)
            if row is None:
                raise self._refused("identities", "too many identities call at once", _PAUSE)
        return row

    def check_request(self) -> None:
        """Raise QuotaExceeded if there were too many requests within a second."""
        if self._cost and (wait := self._wait(_REQUESTS, self._cost, self._room)) > 0:
            rate = self.rule.requests_per_second
            raise self._refused("requests_per_second", f"more than {rate:g} requests per second", wait / _SECOND)

    def take_request(self) -> None:
        """Count a request. Raises QuotaExceeded if there were too many within a second."""
        if self._cost:
            self.check_request()
            self._take(_REQUESTS, self._cost)

    def take_items(self, number: int) -> None:
        """Count items. Raises QuotaExceeded if there were too many within a minute."""
        limit = self.rule.items_per_minute
        if limit is None:
            return
        cost = number * self._item_cost
        if (wait := self._wait(_ITEMS, cost, limit * self._item_cost)) > 0:
            raise self._refused("items_per_minute", f"more than {limit:,} items per minute", wait / _SECOND)
        self._take(_ITEMS, cost)

    def check_items(self, number: int) -> None:
        """Raise QuotaExceeded if so many items can never be submitted at once."""
        limit = self.rule.items_per_minute
        if limit is not None and number > limit:
            raise self._refused("items_per_minute", f"a run may have {limit:,} items, as many as a minute", None)

    def check_open(self, kind: int) -> None:
        """Raise QuotaExceeded if there may be no further call, or stream."""
        if kind == _CALLS:
            self._check(_CALLS, 1, self.rule.max_calls, "max_calls", "calls at once")
        else:
            self._check(_STREAMS, 1, self.rule.max_streams, "max_streams", "streams at once")

    def check_followed(self, number: int) -> None:
        """Raise QuotaExceeded if so many more runs may not be followed."""
        self._check(_FOLLOWED, number, self.rule.max_followed, "max_followed", "followed runs at once")

    def has_memory(self, size: int) -> bool:
        """Whether so many more bytes may be held."""
        limit = self.rule.max_memory
        return limit is None or self._table.count(self.row, _MEMORY) + size <= limit

    def check_memory(self, size: int) -> None:
        """Raise QuotaExceeded if so many more bytes may not be held."""
        if not self.has_memory(size):
            raise self._refused("max_memory", f"more than {self.rule.max_memory:,} bytes in flight", _PAUSE)

    def check_stored(self, stored: Callable[[str], int | None], namespace: str) -> None:
        """Raise QuotaExceeded if a namespace has stored as much as it may."""
        limit = self.rule.max_stored_bytes
        if limit is not None and (held := stored(namespace)) is not None and held >= limit:
            raise self._refused("max_stored_bytes", f"its namespace has stored {limit:,} bytes or more", 60 * _PAUSE)

    def add(self, kind: int, number: int) -> None:
        """Count more of a kind, or less; it has been checked."""
        self._table.add(self.row, kind, number)

    def _check(self, kind: int, number: int, limit: int | None, name: str, what: str) -> None:
        if limit is not None and self._table.count(self.row, kind) + number > limit:
            raise self._refused(name, f"more than {limit:,} {what}", _PAUSE if number <= limit else None)

    def _wait(self, which: int, cost: int, room: int) -> int:
        """After how many nanoseconds there will be enough in a bucket that holds `room` of them; 0 or less: now."""
        table = self._table
        now = table.now()
        return max(table.time_of(self.row, which), now) + cost - now - room

    def _take(self, which: int, cost: int) -> None:
        table, row = self._table, self.row
        table.set_time(row, which, max(table.time_of(row, which), table.now()) + cost)

    def _refused(self, limit: str, what: str, wait: float | None) -> QuotaExceeded:
        if wait is not None:
            wait = ceil(max(_LEAST_WAIT, wait) * (1 + _JITTER * random.random()) * 1_000) / 1_000
        return QuotaExceeded(f"{self._name}: {what} ({limit})", quota=limit, subject=self._name, retry_after=wait)


class CallerUse:
    """What a caller makes the gateway do, as far as that is limited. `parts` are the identity, and all together."""

    __slots__ = ("_parts", "_stored", "limited")

    def __init__(self, parts: Sequence[_Limited], stored: Callable[[str], int | None] | None) -> None:
        self._parts = tuple(parts)
        self.limited = bool(parts)
        """Whether there is a limit at all."""
        self._stored = stored

    def check(self, kind: int) -> None:
        """Raise QuotaExceeded if no further call may begin now, or stream."""
        for part in self._parts:
            part.check_open(kind)
            part.check_request()

    def begin(self, kind: int, *, requests: bool = True) -> None:
        """Count a call, or a stream, and a request unless it has been counted. Raises QuotaExceeded."""
        for part in self._parts:
            part.check_open(kind)
        if requests:
            self.request()
        self.add(kind, 1)

    def request(self) -> None:
        """Count a request. Raises QuotaExceeded."""
        for part in self._parts:
            part.take_request()

    def add(self, kind: int, number: int) -> None:
        """Count more of a kind, or less if it is negative."""
        for part in self._parts:
            part.add(kind, number)

    def follow(self, number: int) -> None:
        """Count followed runs. Raises QuotaExceeded."""
        for part in self._parts:
            part.check_followed(number)
        self.add(_FOLLOWED, number)

    def submit(self, number: int, before: int) -> None:
        """Count submitted items. Raises QuotaExceeded."""
        for part in self._parts:
            part.check_items(before + number)
        for part in self._parts:
            part.take_items(number)

    def fits(self, size: int) -> bool:
        """Whether so many more bytes may be held."""
        return all(part.has_memory(size) for part in self._parts)

    def hold(self, size: int) -> None:
        """Hold so many more bytes. Raises QuotaExceeded."""
        for part in self._parts:
            part.check_memory(size)
        self.add(_MEMORY, size)

    def check_stored(self, namespace: str) -> None:
        """Raise QuotaExceeded if a namespace has stored as much as it may."""
        if self._stored is not None:
            for part in self._parts:
                part.check_stored(self._stored, namespace)


class LimitedCall:
    """A call that counts, with the memory that it holds, while the context lasts. Entering it raises QuotaExceeded."""

    __slots__ = ("_held", "_kind", "_requests", "_use")

    def __init__(self, use: CallerUse | None, kind: int, *, requests: bool = True) -> None:
        self._use = use
        self._kind = kind
        self._requests = requests
        self._held = 0

    def __enter__(self) -> Self:
        if self._use is not None:
            self._use.begin(self._kind, requests=self._requests)
        return self

    def __exit__(self, *_: object) -> None:
        if self._use is not None:
            self._use.add(self._kind, -1)
            if self._held:
                self.hold(-self._held)

    def becomes_stream(self) -> None:
        """Count as a stream from now on. Raises QuotaExceeded."""
        if self._use is not None:
            self._use.begin(_STREAMS, requests=False)
            self._use.add(self._kind, -1)
            self._kind = _STREAMS

    def hold(self, size: int) -> None:
        """Hold so many more bytes, or less if it is negative. Raises QuotaExceeded."""
        if self._use is not None:
            if size < 0:
                self._use.add(_MEMORY, size)
            else:
                self._use.hold(size)
            self._held += size


class FollowedByCaller:
    """The runs that a stream follows: they count while the context lasts, or until they are removed."""

    __slots__ = ("_number", "_use")

    def __init__(self, use: CallerUse | None, number: int) -> None:
        self._use = use
        self._number = 0
        if number:
            self.take(number)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._use is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back(self._number)

    def take(self, number: int = 1) -> None:
        """Follow more runs. Raises QuotaExceeded."""
        if self._use is not None:
            self._use.follow(number)
            self._number += number

    def give_back(self, number: int = 1) -> None:
        """Follow so many runs less."""
        if self._use is not None and number:
            self._use.add(_FOLLOWED, -number)
            self._number -= number


class CallerShare(MemoryShare):
    """The share of a connection, of which a caller with a limit of its own holds no more than that."""

    __slots__ = ("_share", "_use")

    def __init__(self, share: MemoryShare, use: CallerUse) -> None:
        self._share = share
        self._use = use
        self.held = 0

    def take(self, size: int) -> None:
        self._use.hold(size)
        try:
            self._share.take(size)
        except BaseException:
            self._use.add(_MEMORY, -size)
            raise
        self.held += size

    def give_back(self, size: int) -> None:
        self.count(-size)

    def fits(self, size: int) -> bool:
        return self._use.fits(size) and self._share.fits(size)

    def count(self, size: int) -> None:
        self._share.count(size)
        self._use.add(_MEMORY, size)
        self.held += size


UNLIMITED: Final = LimitedCall(None, _CALLS)
"""A call of a caller without limits."""

_FOLLOWED_FREELY: Final = FollowedByCaller(None, 0)


class CallerLimits:
    """The limits of all callers. `stored` tells how many bytes a namespace has stored, where the runtime can tell."""

    def __init__(
        self,
        rules: Sequence[LimitRule] = (),
        in_all: LimitRule | None = None,
        *,
        table: CounterTable | None = None,
        stored: Callable[[str], int | None] | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._stored = stored
        limits_all = in_all is not None and not in_all.limits_nothing
        self.limited = bool(self._rules) or limits_all
        """Whether there are any limits."""
        self._limits_storage = stored is not None and any(
            rule.max_stored_bytes is not None for rule in (*self._rules, *([in_all] if in_all else []))
        )
        self._table = table or (CounterTable() if self.limited else None)
        self._in_all: tuple[_Limited, ...] = ()
        if in_all is not None and limits_all and self._table is not None:
            self._in_all = (_Limited("all", in_all, self._table),)
        self._uses: BoundedCache[str, CallerUse] = BoundedCache(MAX_IDENTITIES, MAX_IDENTITIES)

    def call(self, caller: Caller, streams: bool = False) -> LimitedCall:
        """A call of a caller, or a stream, to be entered before any work. Entering it raises QuotaExceeded."""
        use = self._use(caller.identity) if self.limited else None
        return UNLIMITED if use is None else LimitedCall(use, _STREAMS if streams else _CALLS)

    def place(self, caller: Caller) -> LimitedCall:
        """The place of calls, one after the other, each of which is counted by `request`."""
        use = self._use(caller.identity) if self.limited else None
        return UNLIMITED if use is None else LimitedCall(use, _CALLS, requests=False)

    def request(self, caller: Caller) -> None:
        """A caller asks for something in a place that it has. Raises QuotaExceeded."""
        if self.limited and (use := self._use(caller.identity)) is not None:
            use.request()

    def check(self, caller: Caller, streams: bool = False) -> None:
        """Raise QuotaExceeded if a caller may not begin a call now, or a stream. Nothing is counted."""
        if self.limited and (use := self._use(caller.identity)) is not None:
            use.check(_STREAMS if streams else _CALLS)

    def followed(self, caller: Caller, number: int = 0) -> FollowedByCaller:
        """The runs and sets that a stream of a caller follows. Raises QuotaExceeded."""
        use = self._use(caller.identity) if self.limited else None
        return _FOLLOWED_FREELY if use is None else FollowedByCaller(use, number)

    def items(self, caller: Caller, number: int, before: int = 0) -> None:
        """A caller submits items, after `before` others of the same run. Raises QuotaExceeded."""
        if self.limited and (use := self._use(caller.identity)) is not None:
            use.submit(number, before)

    def stored(self, caller: Caller) -> None:
        """A caller is about to store something in its namespace. Raises QuotaExceeded if that is full."""
        if self._limits_storage and (use := self._use(caller.identity)) is not None:
            use.check_stored(caller.view.namespace or DEFAULT_NAMESPACE)

    def share(self, caller: Caller, share: MemoryShare) -> MemoryShare:
        """The share of a connection, as far as a caller may hold of it."""
        use = self._use(caller.identity) if self.limited else None
        return share if use is None else CallerShare(share, use)

    def _use(self, identity: str) -> CallerUse | None:
        """What an identity uses; None if nothing limits it."""
        known = self._uses.use(identity)
        if known is not None:
            return known if known.limited else None
        rule = rule_for(identity, self._rules)
        assert self._table is not None
        own = () if rule is None else (_Limited(f"identity:{identity}", rule, self._table),)
        parts = (*own, *self._in_all)
        use = CallerUse(parts, self._stored)
        self._uses.put(identity, use)
        return use if use.limited else None


NO_LIMITS: Final = CallerLimits()
"""The limits of a gateway without any."""
