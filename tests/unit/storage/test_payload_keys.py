"""Texts that are encrypted can only be read with the key, at the place they were made for, and unchanged."""

import base64
from pathlib import Path

import pytest

from gateway.storage.payload_keys import (
    MAX_FILE_BYTES,
    OVERHEAD,
    PayloadKeys,
    UnreadablePayload,
    is_encrypted,
    key_id_of,
    parse_payload_keys,
    read_payload_keys,
)

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def test_what_is_encrypted_comes_back() -> None:
    keys = PayloadKeys([OLD])
    for data in (b"", b"secret", bytes(1 << 20)):
        encrypted = keys.encrypted(data, b"here")
        assert len(encrypted) == len(data) + OVERHEAD
        assert is_encrypted(encrypted)
        assert keys.decrypted(encrypted, b"here") == data


def test_the_same_text_is_never_encrypted_to_the_same() -> None:
    keys = PayloadKeys([OLD])
    assert keys.encrypted(b"a") != keys.encrypted(b"a")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, both, new = PayloadKeys([OLD]), PayloadKeys([NEW, OLD]), PayloadKeys([NEW])
    assert both.decrypted(old.encrypted(b"a")) == b"a"
    assert new.decrypted(both.encrypted(b"a")) == b"a"
    assert key_id_of(both.encrypted(b"a")) == new.first_id
    assert both.has(old.first_id)
    with pytest.raises(UnreadablePayload, match=f"the key {new.first_id}, which this gateway does not have"):
        old.decrypted(both.encrypted(b"a"))


def test_a_text_that_was_changed_or_moved_is_not_read() -> None:
    keys = PayloadKeys([OLD])
    encrypted = keys.encrypted(b"secret", b"here")
    for place in (4 + 8, 40, len(encrypted) - 1):
        changed = bytearray(encrypted)
        changed[place] ^= 1
        with pytest.raises(UnreadablePayload, match="changed"):
            keys.decrypted(bytes(changed), b"here")
    with pytest.raises(UnreadablePayload, match="changed"):
        keys.decrypted(encrypted, b"there")
    for cut in (encrypted[:3], encrypted[: OVERHEAD - 1], b""):
        with pytest.raises(UnreadablePayload):
            keys.decrypted(cut, b"here")


def test_a_file_has_a_key_in_each_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(base64.b64encode(NEW) + b"\n\n " + base64.b64encode(OLD) + b"\r\n")
    keys = read_payload_keys(str(file))
    assert keys.first_id == PayloadKeys([NEW]).first_id
    assert keys.has(PayloadKeys([OLD]).first_id)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"secretsecret", base64.b64encode(OLD[:31]), b"!" * 44, (base64.b64encode(OLD) + b"\n") * 17],
)
def test_a_file_without_keys_is_refused_without_showing_it(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected (1 to 16 keys|keys of 32 bytes)") as refused:
        parse_payload_keys(content)
    assert "secretsecret" not in str(refused.value)


def test_a_long_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\n" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ValueError, match="bytes at most"):
        read_payload_keys(str(tmp_path / "keys"))
