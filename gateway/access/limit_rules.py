"""Which limits an identity has: the first rule that names it, or else the first one for all others."""

from collections.abc import Iterable
from typing import Final, NamedTuple

_ANY_END: Final = "*"


class LimitRule(NamedTuple):
    """The limits of each identity that a rule names, or of all together. What is None is not limited.

    `identities` are names, or beginnings of names with a `*` after them; without any, the rule is for all others.
    Sizes are bytes.
    """

    identities: tuple[str, ...] = ()
    requests_per_second: float | None = None
    burst: int | None = None
    """How many requests may come at once after a pause; as many as in a second, unless set."""
    max_calls: int | None = None
    """Calls in flight, streams not included."""
    max_streams: int | None = None
    max_followed: int | None = None
    """Runs, and sets of runs, that are followed."""
    items_per_minute: int | None = None
    max_stored_bytes: int | None = None
    """What its namespace may have stored when it submits more."""
    max_memory: int | None = None
    """What its requests and answers may hold at a time."""

    def names(self, identity: str) -> bool:
        """Whether the rule names an identity."""
        for name in self.identities:
            if name == identity or (name.endswith(_ANY_END) and identity.startswith(name[:-1])):
                return True
        return False

    @property
    def of_storage(self) -> "LimitRule":
        """The rule without all limits but that of what is stored."""
        return LimitRule(self.identities, max_stored_bytes=self.max_stored_bytes)

    @property
    def limits_nothing(self) -> bool:
        """Whether nothing is limited."""
        return all(limit is None for limit in self[1:])


def rule_for(identity: str, rules: Iterable[LimitRule]) -> LimitRule | None:
    """The rule for an identity; None if there is none that limits something."""
    others: LimitRule | None = None
    for rule in rules:
        if rule.names(identity):
            return None if rule.limits_nothing else rule
        if not rule.identities and others is None:
            others = rule
    return None if others is None or others.limits_nothing else others
