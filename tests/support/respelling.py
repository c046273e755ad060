"""JSON values, and the many ways to spell each."""

import json
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

NUMBERS: Final = (
    ("0", "-0", "0.0", "0e7"),
    ("1", "1.0", "10e-1", "1E0"),
    ("-120", "-1.2e2", "-120.00"),
    ("0.00000015", "1.5e-7", "15E-8"),
    ("10000000000000000000000", "1e22", "10000000000000000000000.0"),
    ("12345678901234567890123", "1.2345678901234567890123e22"),
)
"""Numbers in all these spellings."""

_names = st.text('ab"\\\n é😀[{,:/\x01', max_size=12)
_scalars = st.none() | st.booleans() | _names | st.sampled_from(NUMBERS) | st.integers(-3, 10**25)
values: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_names, inner, max_size=8),
    max_leaves=40,
)
"""Values for `respelled`."""


def respelled(value: Any, random: Random) -> str:
    """One of the spellings of a value."""
    if isinstance(value, tuple):
        return str(random.choice(value))
    if isinstance(value, str):
        return _string(value, random)
    if isinstance(value, list):
        return f"[{','.join(_spaced(respelled(each, random), random) for each in value)}{_space(random)}]"
    if isinstance(value, dict):
        members = list(value.items())
        random.shuffle(members)
        parts = (
            f"{_spaced(_string(name, random), random)}:{_spaced(respelled(each, random), random)}"
            for name, each in members
        )
        return f"{{{','.join(parts)}{_space(random)}}}"
    return json.dumps(value)


def _string(text: str, random: Random) -> str:
    return (
        '"'
        + "".join(
            _escaped(sign) if random.random() < 0.2 else json.dumps(sign, ensure_ascii=False)[1:-1] for sign in text
        )
        + '"'
    )


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _space(random: Random) -> str:
    return random.choice(["", "", "", " ", "\n\t "])


def _spaced(text: str, random: Random) -> str:
    return f"{_space(random)}{text}{_space(random)}"
