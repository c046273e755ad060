"""Files for TLS: what is refused says in one line which file is to be mended."""

import ssl
from pathlib import Path

import pytest

from gateway.core.client_tls import ClientTls
from gateway.core.tls_files import TlsFileError, file_stamps, load_authorities, load_pair
from tests.support.certificates import Certificates, MountedSecret, encrypt_key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def refusal(cert: str, key: str) -> TlsFileError:
    with pytest.raises(TlsFileError) as refused:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)
    assert "\n" not in str(refused.value)
    return refused.value


def test_a_pair_is_loaded(authority: Certificates) -> None:
    files = authority.server()
    chain, key = load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files.cert, files.key)
    assert chain == Path(files.cert).read_bytes()
    assert key == Path(files.key).read_bytes()


def test_a_key_of_another_certificate(authority: Certificates) -> None:
    files, other = authority.server(), authority.server("other")
    refused = refusal(files.cert, other.key)
    assert refused.role == "key"
    assert str(refused) == f"the key in {other.key} is not that of the certificate in {files.cert}"


def test_an_encrypted_key_is_refused_and_no_password_is_asked_for(authority: Certificates) -> None:
    files = authority.server()
    encrypted = encrypt_key(files.key)
    refused = refusal(files.cert, encrypted)
    assert refused.role == "key"
    assert str(refused) == f"the key in {encrypted} is encrypted: give one without a password"


def test_files_that_are_not_there_or_hold_something_else(authority: Certificates, tmp_path: Path) -> None:
    files = authority.server()
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    broken = tmp_path / "broken.key"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    text = tmp_path / "text"
    text.write_text("hello")
    missing = str(tmp_path / "missing")
    cases = [
        (missing, files.key, "cert", f"{missing} cannot be read: No such file or directory"),
        (files.cert, missing, "key", f"{missing} cannot be read: No such file or directory"),
        (str(text), files.key, "cert", f"{text} is not a file in PEM"),
        (files.cert, str(text), "key", f"{text} is not a file in PEM"),
        (files.key, files.key, "cert", f"{files.key} holds no certificate"),
        (files.cert, files.cert, "key", f"{files.cert} holds no private key"),
        (str(garbage), files.key, "cert", f"{garbage} cannot be used"),
        (files.cert, str(broken), "key", f"{broken} cannot be used"),
        (str(tmp_path), files.key, "cert", f"{tmp_path} cannot be read: Is a directory"),
    ]
    for cert, key, role, message in cases:
        refused = refusal(cert, key)
        assert (refused.role, str(refused)[: len(message)]) == (role, message)


def test_authorities(authority: Certificates, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert load_authorities(context, authority.ca) == Path(authority.ca).read_bytes()
    assert len(context.get_ca_certs()) == 1
    with pytest.raises(TlsFileError, match="holds no certificate of an authority"):
        load_authorities(context, authority.server().key)


def test_what_a_client_trusts_and_shows(authority: Certificates) -> None:
    files = authority.client()
    tls = ClientTls(authority.ca, files.cert, files.key)
    assert tls.paths == (authority.ca, files.cert, files.key)
    assert tls.pem() == tuple(Path(path).read_bytes() for path in (authority.ca, files.key, files.cert))
    assert tls.context().verify_mode is ssl.CERT_REQUIRED
    assert tls.context().check_hostname
    assert ClientTls().pem() == (None, None, None)


def test_a_swapped_link_changes_the_stamps(authority: Certificates, tmp_path: Path) -> None:
    secret = MountedSecret(tmp_path / "mounted", authority.server())
    before = file_stamps(secret.files)
    assert before == file_stamps(secret.files)
    secret.swap(authority.server("next"))
    assert before != file_stamps(secret.files)
    Path(secret.files.key).resolve().unlink()
    assert file_stamps(secret.files)[1] is None
