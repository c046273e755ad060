"""The header `authorization`."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.bearer import MAX_TOKEN, bearer_token
from gateway.core.errors import Unauthenticated

TOKENS = st.from_regex(r"[A-Za-z0-9\-._~+/]{1,100}={0,2}", fullmatch=True)


@given(TOKENS, st.sampled_from(["Bearer", "bearer", "BEARER", "bEaReR"]), st.integers(1, 4))
def test_a_token_follows_the_scheme(token: str, scheme: str, blanks: int) -> None:
    assert bearer_token(f"{scheme}{' ' * blanks}{token}") == token


@given(TOKENS, TOKENS, st.sampled_from([",", ", ", " ", "\t", "\n", "\0", ";"]))
def test_there_is_one_token_and_nothing_else(token: str, other: str, between: str) -> None:
    for text in (f"Bearer {token}{between}{other}", f"Bearer {token}{between}Bearer {other}", f"Bearer{between * 2}"):
        with pytest.raises(Unauthenticated):
            bearer_token(text)
    with pytest.raises(Unauthenticated):
        bearer_token(f"Bearer {token}{between}")


@given(st.text(max_size=50) | st.text("Bearer abc=,", max_size=20))
def test_anything_is_read_or_refused(text: str) -> None:
    with suppress(Unauthenticated):
        token = bearer_token(text)
        assert text.lower().startswith("bearer ")
        assert text.endswith(token)


def test_a_token_has_a_longest_length() -> None:
    assert bearer_token("Bearer " + "a" * MAX_TOKEN) == "a" * MAX_TOKEN
    for length in (MAX_TOKEN + 1, MAX_TOKEN * 100):
        with pytest.raises(Unauthenticated):
            bearer_token("Bearer " + "a" * length)
