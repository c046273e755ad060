"""The file of tokens."""

import re
from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.granted import Roles
from gateway.access.tokens_file import KnownTokens, known_tokens, read_tokens
from gateway.core.caller import ALL, CallerView
from gateway.core.owner import Permission
from tests.support.identities import ALL_PERMISSIONS, token_entry, token_of

ROLES = Roles({"reader": (Permission.READ,)})
DIGEST = "0" * 64


def read(text: str) -> KnownTokens:
    return read_tokens(text.encode(), ROLES)


def digest_of(name: str) -> bytes:
    return sha256(token_of(name).encode()).digest()


def test_a_token_is_found_by_its_digest() -> None:
    tokens = read(token_entry("a", namespaces=["x", "y", "x"]) + token_entry("b", ["reader", "runs:cancel"]))
    assert len(tokens) == 2
    a, b = tokens.find(digest_of("a")), tokens.find(digest_of("b"))
    assert a is not None
    assert b is not None
    assert (a.identity, a.view, a.namespaces) == ("a", CallerView("x"), ("x", "y"))
    assert a.permissions == set(ALL_PERMISSIONS)
    assert b.permissions == {"runs:read", "runs:cancel"}
    assert tokens.find(digest_of("c")) is None
    assert tokens.find(bytes(32)) is None


def test_a_namespace_may_be_one_name_and_a_digest_in_capitals() -> None:
    entry = f'[[tokens]]\nname = "a"\nsha256 = "{digest_of("a").hex().upper()}"\npermissions = ["admin"]'
    found = read(entry).find(digest_of("a"))
    assert found is not None
    assert found.view == ALL
    found = read(entry.replace("admin", "runs:read") + '\nnamespace = "team"').find(digest_of("a"))
    assert found is not None
    assert found.namespaces == ("team",)


def test_several_tokens_may_be_of_one_identity() -> None:
    tokens = read(token_entry("a") + token_entry("a", token="another"))
    assert len(tokens) == 2


def test_a_time_of_expiry_has_an_offset() -> None:
    tokens = read(token_entry("a", expires="2030-01-01T01:00:00+01:00"))
    found = tokens.find(digest_of("a"))
    assert found is not None
    assert found.expires == 1893456000.0
    for moment in ("2030-01-01T01:00:00", "2030-01-01", "1893456000", '"2030-01-01T00:00:00Z"'):
        with pytest.raises(ValueError, match="expires: expected a date, a time and an offset"):
            read(token_entry("a", expires=moment))


ENTRY = f'[[tokens]]\nname = "ci"\nsha256 = "{DIGEST}"\npermissions = ["runs:read"]\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ENTRY.replace('"runs:read"', '"runs:write"'), "token 1 ('ci'): 'runs:write' is neither a permission nor"),
        (ENTRY.replace('"runs:read"', ""), "token 1 ('ci'): permissions: must not be empty"),
        (ENTRY.replace('["runs:read"]', '"runs:read"'), "token 1 ('ci'): permissions: expected an array"),
        (ENTRY.replace(DIGEST, "rgw_secret"), "token 1 ('ci'): sha256: expected the 64 hex digits of a SHA-256"),
        (ENTRY.replace(f'"{DIGEST}"', "12"), "token 1 ('ci'): sha256: expected the 64 hex digits of a SHA-256"),
        (ENTRY.replace('"ci"', '""'), "token 1 (''): name: expected one line"),
        (ENTRY.replace('"ci"', '"a\\nb"'), "name: expected one line"),
        (ENTRY.replace("name", "nam"), "token 1: name: is needed; nam: unknown"),
        (ENTRY + 'namespace = "Team"', "token 1 ('ci'): namespace: expected 1 to 63 of"),
        (ENTRY + "namespaces = []", "namespaces: must not be empty"),
        (ENTRY + 'namespaces = ["a"]\nnamespace = "a"', "token 1 ('ci'): give namespace or namespaces, and not both"),
        (ENTRY.replace("runs:read", "admin") + 'namespace = "a"', "token 1 ('ci'): admin is for all namespaces"),
        (ENTRY * 2, "token 2 ('ci'): another entry has the same sha256, that of 'ci'"),
        (ENTRY.replace("[[tokens]]", "[tokens]"), "expected [[tokens]], with two brackets"),
        ("tokens = [1]", "token 1: expected an object"),
        ("other = 1", "'other' is unknown: expected [[tokens]] alone"),
        ("tokens = ", "at end of document"),
        ("a = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_entry(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as error:
        read(text)
    assert "secret" not in str(error.value)


def test_a_file_is_text() -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        read_tokens(b"\xff", ROLES)


def test_a_file_may_have_no_tokens() -> None:
    assert len(read("")) == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([DIGEST, "runs:read", "admin"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["name", "sha256", "permissions", "namespace", "namespaces", "expires", "else"])


@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=6), max_size=4))
def test_an_entry_is_whole_or_refused(entries: list) -> None:
    """Nobody has a permission or a namespace that does not stand in the file."""
    try:
        tokens = known_tokens({"tokens": entries}, ROLES)
    except ValueError:
        return
    assert len(tokens) == len(entries)
    for entry in entries:
        caller = tokens.find(bytes.fromhex(entry["sha256"]))
        assert caller is not None
        assert caller.identity == entry["name"]
        assert caller.permissions == set(entry["permissions"])
        one = entry.get("namespace")
        assert set(caller.namespaces) == ({one} if one else set(entry.get("namespaces") or ["default"]))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_file_of_anything_is_read_or_refused(content: bytes) -> None:
    with suppress(ValueError):
        read_tokens(content, ROLES)
