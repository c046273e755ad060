"""The members of a long object, in buckets by their names, so that few of them are sorted and compared at a time.

What the digest of all members is depends on them alone, and not on the order in which they come: a bucket whose members
are too long, without those that are repeated, has buckets of its own.
"""

import hashlib
from collections.abc import Mapping
from typing import Final
from zlib import crc32

import msgspec

from gateway.core.canonical_json import bounded, encode_form
from gateway.core.json_layout import Steps

_FIRST_BUCKETS: Final = 1 << 14
_FIRST: Final = _FIRST_BUCKETS - 1
_FURTHER_BUCKETS: Final = 1 << 8
_LONG_BUCKET: Final = 8 << 10
"""A bucket with more bytes is looked through for members that are repeated."""

_MAX_BUCKET: Final = _LONG_BUCKET // 2
"""One that has more bytes after that is put into buckets of its own. This is for members that were chosen so that they
share a bucket: others of 64 MiB fit."""

_LONG_FORM: Final = 64
"""Longer forms of values are replaced by their digests."""

_STEP_BYTES: Final = 4 << 10
_STEP_BUCKETS: Final = 1 << 10

FIXED_BYTES: Final = _FIRST_BUCKETS * 8
"""What buckets take before they hold anything."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MemberBuckets:
    """Members by the checksums of their names, which take a tenth of the time of a digest; below that by digests."""

    def __init__(self, level: int = 0) -> None:
        self._level = level
        self._buckets: list[bytearray | MemberBuckets | None] = [None] * (_FURTHER_BUCKETS if level else _FIRST_BUCKETS)

    def keep(self, members: Mapping[str, msgspec.Raw | bytes]) -> None:
        """Add some members, whose values are forms."""
        buckets, level = self._buckets, self._level
        for name, form in members.items():
            quoted = encode_form(name)
            place = hashlib.sha256(quoted).digest()[level - 1] if level else crc32(quoted) & _FIRST
            member = b",%b:%b" % (quoted, form if len(form) <= _LONG_FORM else bounded(bytes(form), _LONG_FORM))
            bucket = buckets[place]
            if type(bucket) is bytearray:
                bucket += member
                if len(bucket) > _LONG_BUCKET:
                    buckets[place] = self._shortened(bucket)
            elif isinstance(bucket, MemberBuckets):
                bucket.keep({name: form})
            else:
                buckets[place] = bytearray(member)

    def digest(self) -> "Steps[hashlib._Hash]":
        """The digest of all members. Nothing is kept of them."""
        digest, done = hashlib.sha256(), 0
        for place, bucket in enumerate(self._buckets):
            if bucket is not None:
                form = yield from self._form(bucket)
                self._buckets[place] = None
                digest.update(form)
                done += len(form)
            if done > _STEP_BYTES or (place + 1) % _STEP_BUCKETS == 0:
                done = 0
                yield
        return digest

    def _shortened(self, bucket: bytearray) -> "bytearray | MemberBuckets":
        """A bucket without members that are repeated."""
        members = _members(bucket)
        form = encode_form(members)
        if len(form) <= _MAX_BUCKET or len(members) == 1:
            return bytearray(b",%b" % form[1:-1])
        buckets = MemberBuckets(self._level + 1)
        buckets.keep(members)
        return buckets

    def _form(self, bucket: "bytearray | MemberBuckets") -> Steps[bytes]:
        """The form of the object with the members of a bucket, or its digest if it is long."""
        if not isinstance(bucket, MemberBuckets):
            members = _members(bucket)
            form = encode_form(members)
            if len(form) <= _MAX_BUCKET or len(members) == 1:
                return form
            bucket = MemberBuckets(self._level + 1)
            bucket.keep(members)
        short = yield from bucket._short_form()
        return short or (yield from bucket.digest()).digest()

    def _short_form(self) -> Steps[bytes | None]:
        """The form of all members if it is short: long ones may have been repeated by something short."""
        members: dict[str, msgspec.Raw] = {}
        size = 0
        for bucket in self._buckets:
            if isinstance(bucket, MemberBuckets):
                return None
            if bucket is not None:
                some = _members(bucket)
                members.update(some)
                size += len(encode_form(some)) - 1
                if size + 1 > _MAX_BUCKET:
                    return None
                yield
        return encode_form(members)


def _members(bucket: bytearray) -> dict[str, msgspec.Raw]:
    return _MEMBERS.decode(b"{%b}" % bytes(bucket[1:]))
