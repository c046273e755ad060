"""TLS of a server: its files are read anew when they change, and never broken ones."""

import asyncio
import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.server_tls import ClientAuth, ServerTls, ServerTlsFiles
from gateway.core.tls_files import TlsFileError
from tests.support.certificates import CertificateFiles, Certificates, MountedSecret


@pytest.fixture
def authority(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def mounted(authority: Certificates, tmp_path: Path) -> MountedSecret:
    return MountedSecret(tmp_path / "mounted", authority.server("first"))


def content_of(path: str) -> bytes:
    return Path(path).read_bytes()


def overwrite(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def copy(source: CertificateFiles, target: CertificateFiles) -> Iterator[str]:
    """Copy a certificate and its key, one after the other."""
    for new, old in zip(source, target, strict=True):
        Path(old).write_bytes(Path(new).read_bytes())
        yield old


async def test_a_swapped_link_brings_the_new_certificate(authority: Certificates, mounted: MountedSecret) -> None:
    tls = ServerTls(ServerTlsFiles(*mounted.files))
    first = tls.context
    await tls.look()
    assert (tls.context, tls.generation) == (first, 0)
    second = authority.server("second")
    mounted.swap(second)
    await tls.look()
    assert tls.context is not first
    assert (tls.generation, tls.pem.chain) == (1, content_of(second.cert))


async def test_a_half_written_pair_is_logged_once_and_the_old_one_stays(
    authority: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.server("served")
    tls = ServerTls(ServerTlsFiles(*files))
    before = tls.pem
    writing = copy(authority.server("second"), files)
    next(writing)
    with caplog.at_level(logging.INFO):
        await tls.look()
        await tls.look()
        assert [record.getMessage() for record in caplog.records] == [
            f"the new TLS files cannot be used: the key in {files.key} is not that of the certificate in {files.cert}; "
            "those before stay in use"
        ]
        assert (tls.pem, tls.generation) == (before, 0)
        assert [*writing] == [files.key]
        await tls.look()
    assert tls.generation == 1
    assert tls.pem.chain == content_of(files.cert) != before.chain


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
async def test_garbage_and_absence_change_nothing(
    authority: Certificates, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    files = authority.server()
    tls = ServerTls(ServerTlsFiles(*files))
    overwrite(files.cert, content)
    await tls.look()
    os.unlink(files.key)
    await tls.look()
    assert tls.generation == 0
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.parametrize("of_pair", [0, 1])
async def test_a_pipe_in_the_place_of_a_file_holds_up_nothing(
    authority: Certificates, caplog: pytest.LogCaptureFixture, of_pair: int
) -> None:
    files = authority.server()
    tls = ServerTls(ServerTlsFiles(*files))
    path, before = files[of_pair], content_of(files[of_pair])
    os.unlink(path)
    os.mkfifo(path)
    for _ in range(2):
        await tls.look()
    assert [record.getMessage() for record in caplog.records] == [
        f"the new TLS files cannot be used: {path} cannot be read: Not a regular file; those before stay in use"
    ]
    os.unlink(path)
    overwrite(path, before)
    await tls.look()
    assert tls.generation == 1


async def test_the_files_are_watched(authority: Certificates, mounted: MountedSecret) -> None:
    tls = ServerTls(ServerTlsFiles(*mounted.files), look_seconds=0.001)
    async with tls.watched(), asyncio.timeout(20):
        mounted.swap(authority.server("second"))
        while not tls.generation:  # noqa: ASYNC110 - the watcher tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("auth", "mode"),
    [
        (ClientAuth.NONE, ssl.CERT_NONE),
        (ClientAuth.OPTIONAL, ssl.CERT_OPTIONAL),
        (ClientAuth.REQUIRED, ssl.CERT_REQUIRED),
    ],
)
def test_what_is_asked_of_clients(authority: Certificates, auth: ClientAuth, mode: ssl.VerifyMode) -> None:
    tls = ServerTls(ServerTlsFiles(*authority.server(), authority.ca, auth))
    assert tls.context.verify_mode is mode
    assert tls.asks_for_certificates is (auth is not ClientAuth.NONE)
    assert (tls.pem.client_ca is not None) is tls.asks_for_certificates


async def test_authorities_are_read_anew_as_well(authority: Certificates, tmp_path: Path) -> None:
    tls = ServerTls(ServerTlsFiles(*authority.server(), authority.ca, ClientAuth.REQUIRED))
    overwrite(authority.ca, content_of(Certificates(tmp_path, "other").ca))
    await tls.look()
    assert tls.generation == 1
    assert tls.pem.client_ca == content_of(authority.ca)


def test_files_that_cannot_be_used_at_the_start(authority: Certificates) -> None:
    files = authority.server()
    with pytest.raises(TlsFileError, match="is not that of the certificate"):
        ServerTls(ServerTlsFiles(files.cert, authority.server("other").key))
    with pytest.raises(TlsFileError, match="no certificate of an authority"):
        ServerTls(ServerTlsFiles(*files, files.key, ClientAuth.REQUIRED))
