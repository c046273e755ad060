"""The canonical forms of arrays, objects and long scalars, made of the forms of their parts as these come.

None holds more than MAX_FORM bytes, but for objects with longer forms: these hold their members until all have come.
"""

import hashlib
from typing import Final, Protocol, TypeAlias

import msgspec

from gateway.core.canonical_json import MAX_FORM, digest_form, encode_form
from gateway.core.json_layout import Steps
from gateway.core.member_buckets import FIXED_BYTES, MemberBuckets

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPARE: Final = 4
"""Buckets take one part in so many more than the members in them."""

_NamedForm: TypeAlias = tuple[bytes, bytes]


class Memory(Protocol):
    """Counts what is held."""

    def grow(self, size: int) -> None:
        """Hold so many bytes more, before they are made. Raises an error if there is no room for them."""

    def shrink(self, size: int) -> None:
        """Hold so many bytes less."""


class Uncounted:
    """Memory that has room for anything."""

    def grow(self, size: int) -> None:
        """Hold more."""

    def shrink(self, size: int) -> None:
        """Hold less."""


UNCOUNTED: Final = Uncounted()


class JoinedForm:
    """The form of an array, or of a scalar that comes in pieces."""

    def __init__(self, opening: bytes, closing: bytes, separator: bytes = b"", memory: Memory = UNCOUNTED) -> None:
        self._memory = memory
        self._opening = opening
        self._pieces = [opening]
        self._size = len(opening)
        self._closing = closing
        self._separator = separator
        self._before = b""
        self._digest: hashlib._Hash | None = None

    def add(self, piece: bytes) -> None:
        """Add a piece: for an array, the forms of some elements with commas between them."""
        self._add(self._before)
        self._add(piece)
        self._before = self._separator

    def close(self) -> Steps[bytes]:
        """The form, or what stands for it."""
        self._add(self._closing)
        if self._digest is None:
            self._memory.shrink(self._size - len(self._opening))
        return b"".join(self._pieces) if self._digest is None else digest_form(self._digest)
        yield

    def _add(self, piece: bytes) -> None:
        if self._digest is not None:
            self._digest.update(piece)
            return
        self._memory.grow(len(piece))
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_FORM:
            self._memory.shrink(self._size - len(self._opening))
            self._digest = hashlib.sha256(b"".join(self._pieces))
            self._pieces = []


class ObjectForm:
    """The form of an object.

    If it is long, its digest is made of the digests of some members each.
    """

    def __init__(self, memory: Memory = UNCOUNTED) -> None:
        self._memory = memory
        self._held: list[bytes | _NamedForm] = []
        self._size = 0
        self._counted = 0
        self._buckets: MemberBuckets | None = None

    def add_group(self, members: bytes) -> Steps[None]:
        """Add the form of an object with some members; they do not nest deeply."""
        # Each member counts with its colon and a comma, however it comes.
        return self._add(members, len(members) - 1)

    def add_member(self, name: bytes, form: bytes) -> Steps[None]:
        """Add a member, by its name in quotes."""
        return self._add((name, form), len(name) + len(form) + 2)

    def close(self) -> Steps[bytes]:
        """The form, or what stands for it."""
        if self._buckets is None:
            members: dict[str, msgspec.Raw] = {}
            for held in self._held:
                members.update(_members(held))
            form = encode_form(members)
        else:
            form = digest_form((yield from self._buckets.digest()))
        self._memory.shrink(self._counted)
        return form

    def _add(self, part: bytes | _NamedForm, size: int) -> Steps[None]:
        if self._buckets is not None:
            self._count(size + size // _SPARE)
            self._buckets.keep(_members(part))
            return
        self._count(size)
        self._held.append(part)
        self._size += size
        if self._size <= MAX_FORM:
            return
        self._count(FIXED_BYTES)
        self._buckets = MemberBuckets()
        held, self._held = self._held, []
        for some in held:
            self._buckets.keep(_members(some))
            yield

    def _count(self, size: int) -> None:
        self._memory.grow(size)
        self._counted += size


def _members(part: bytes | _NamedForm) -> dict[str, msgspec.Raw]:
    if isinstance(part, bytes):
        return _MEMBERS.decode(part)
    name, form = part
    return {msgspec.json.decode(name, type=str): msgspec.Raw(form)}
