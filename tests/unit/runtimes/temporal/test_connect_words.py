"""What the SDK tells when it cannot connect: texts of temporalio 1.x, and what operators read of them."""

import pytest

from gateway.runtimes.temporal.connect_words import connect_words

_TRANSPORT = "Failed client connect: Server connection error: tonic::transport::Error(Transport, ConnectError("
_CALL = "Failed client connect: `get_system_info` call error after connection: "

TEXTS = {
    f'{_TRANSPORT}ConnectError("tcp connect error", 127.0.0.1:1, '
    'Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))': "no connection: Connection refused",
    f'{_TRANSPORT}ConnectError("dns error", Custom {{ kind: Uncategorized, error: "failed to lookup address" }})))': (
        "the name of the server cannot be resolved"
    ),
    f"{_TRANSPORT}Custom {{ kind: InvalidData, error: InvalidMessage(InvalidContentType) }}))": (
        "no connection over TLS: the server speaks something else"
    ),
    f'{_TRANSPORT}Custom {{ kind: UnexpectedEof, error: "tls handshake eof" }}))': (
        "no connection over TLS: the server has ended it"
    ),
    f"{_TRANSPORT}Custom {{ kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }}))": (
        "the certificate of the server is not accepted: no authority that is trusted here has signed it"
    ),
    f"{_TRANSPORT}Custom {{ kind: InvalidData, error: InvalidCertificate(Other(OtherError(CaUsedAsEndEntity))) }}))": (
        "the certificate of the server is not accepted: it is malformed, or not for a server"
    ),
    f"{_TRANSPORT}Something {{ new: 1 }}))": "no connection",
    f'{_CALL}Status {{ code: Internal, message: "h2 protocol error: http2 error", source: '
    'Some(tonic::transport::Error(Transport, hyper::Error(Http2, Error { kind: GoAway(b"", FRAME_SIZE_ERROR) }))) }': (
        "what answers there is no Temporal server, or the connection was lost"
    ),
    f'{_CALL}Status {{ code: PermissionDenied, message: "Request unauthorized.", metadata: MetadataMap {{ }} }}': (
        "Request unauthorized. (PermissionDenied)"
    ),
    "something else": "something else",
}


@pytest.mark.parametrize(("text", "words"), TEXTS.items())
def test_the_reason_is_told_without_the_debug_text_of_a_library(text: str, words: str) -> None:
    assert connect_words(text) == words
    assert "tonic" not in words
