"""The canonical forms of arrays, objects and long scalars, made of the forms of their parts as these come.

None holds more than MAX_FORM bytes, but for objects with longer forms: these hold their members until all have come.
"""

import hashlib
from typing import Final, TypeAlias

import msgspec

from gateway.core.canonical_json import MAX_FORM, digest_form, encode_form
from gateway.core.json_layout import Steps

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LONG_MEMBER: Final = 64
"""In long objects, forms of values with more bytes are replaced by their digests."""

_STEP_BYTES: Final = 8 << 10
_STEP_PLACE: Final = 16
_STEP_MEMBERS: Final = 128

_NamedForm: TypeAlias = tuple[bytes, bytes]


def bounded(form: bytes, limit: int | None = None) -> bytes:
    """A form, or what stands for it if it has more than `limit` bytes, or MAX_FORM."""
    return form if len(form) <= (limit or MAX_FORM) else digest_form(hashlib.sha256(form))


class JoinedForm:
    """The form of an array, or of a scalar that comes in pieces."""

    def __init__(self, opening: bytes, closing: bytes, separator: bytes = b"") -> None:
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
        return b"".join(self._pieces) if self._digest is None else digest_form(self._digest)
        yield

    def _add(self, piece: bytes) -> None:
        if self._digest is not None:
            self._digest.update(piece)
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_FORM:
            self._digest = hashlib.sha256(b"".join(self._pieces))
            self._pieces = []


class ObjectForm:
    """The form of an object.

    If it is long, the digest is that of its members in the order of the digests of their names: they are kept by these,
    so that few of them are sorted at a time.
    """

    def __init__(self) -> None:
        self._held: list[bytes | _NamedForm] = []
        self._size = 0
        self._by_digest: dict[int, bytearray] | None = None

    def add_group(self, members: bytes) -> Steps[None]:
        """Add the form of an object with some members; they do not nest deeply."""
        # Each member counts with its colon and a comma, however it comes.
        return self._add(members, len(members) - 1)

    def add_member(self, name: bytes, form: bytes) -> Steps[None]:
        """Add a member, by its name in quotes."""
        return self._add((name, form), len(name) + len(form) + 2)

    def close(self) -> Steps[bytes]:
        """The form, or what stands for it."""
        if self._by_digest is None:
            members: dict[str, msgspec.Raw] = {}
            for held in self._held:
                members.update(_members(held))
            return encode_form(members)
        digest, done = hashlib.sha256(), 0
        for place in range(1 << 16):
            content = self._by_digest.pop(place, b"")
            if content:
                digest.update(encode_form(_MEMBERS.decode(b"{%b}" % bytes(content[1:]))))
            done += len(content) + _STEP_PLACE
            if done > _STEP_BYTES:
                done = 0
                yield
        return digest_form(digest)

    def _add(self, part: bytes | _NamedForm, size: int) -> Steps[None]:
        self._held.append(part)
        if self._by_digest is None:
            self._size += size
            if self._size <= MAX_FORM:
                return
            self._by_digest = {}
        held, self._held = self._held, []
        for some in held:
            yield from self._keep(some, self._by_digest)

    def _keep(self, part: bytes | _NamedForm, by_digest: dict[int, bytearray]) -> Steps[None]:
        for number, (name, value) in enumerate(_members(part).items(), 1):
            quoted, form = encode_form(name), bounded(bytes(value), _LONG_MEMBER)
            place = int.from_bytes(hashlib.blake2b(quoted, digest_size=2).digest())
            kept = by_digest.get(place)
            if kept is None:
                kept = by_digest[place] = bytearray()
            kept += b",%b:%b" % (quoted, form)
            if number % _STEP_MEMBERS == 0:
                yield


def _members(part: bytes | _NamedForm) -> dict[str, msgspec.Raw]:
    if isinstance(part, bytes):
        return _MEMBERS.decode(part)
    name, form = part
    return {msgspec.json.decode(name, type=str): msgspec.Raw(form)}
