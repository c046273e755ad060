"""Tokens for a file of tokens."""

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.granted import Roles, is_identity
from gateway.access.new_token import new_token
from gateway.access.tokens_file import read_tokens
from gateway.core.owner import Permission

ROLES = Roles({"reader": (Permission.READ,)})


def test_a_token_is_random_and_its_entry_does_not_hold_it() -> None:
    made, other = new_token(["runs:read"]), new_token(["runs:read"])
    assert re.fullmatch(r"rgw_[A-Za-z0-9_-]{43}", made.token)
    assert made.token != other.token
    assert made.token.removeprefix("rgw_") not in made.entry
    assert made.digest == sha256(made.token.encode()).hexdigest()
    assert made.token not in f"{made} {made!r} {[made]}"


@given(st.text(min_size=1, max_size=30).filter(is_identity), st.lists(st.from_regex("[a-z0-9]{1,9}", fullmatch=True)))
def test_its_entry_is_one_of_a_file(name: str, namespaces: list[str]) -> None:
    made = new_token(["reader", "runs:cancel"], namespaces, name=name, expires="2030-01-01T00:00:00Z")
    caller = read_tokens(made.entry.encode(), ROLES).find(bytes.fromhex(made.digest))
    assert caller is not None
    assert caller.identity == name
    assert caller.namespaces == (tuple(dict.fromkeys(namespaces)) or ("default",))
    assert caller.permissions == {"runs:read", "runs:cancel"}
    assert caller.expires == 1893456000.0


@pytest.mark.parametrize(
    ("permissions", "namespaces", "name"),
    [(["runs:all"], [], None), (["admin"], ["a"], None), (["runs:read"], ["A"], None), (["runs:read"], [], "a\nb")],
)
def test_what_a_file_may_not_say_is_refused(permissions: list[str], namespaces: list[str], name: str | None) -> None:
    with pytest.raises(ValueError, match=r"expected|neither|admin"):
        new_token(permissions, namespaces, name=name)
