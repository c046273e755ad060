import pytest

from gateway.components.message import decode_message, encode_internal_error


@pytest.mark.parametrize("given", [b"1", b"1.0", b"1e3", b'"\\u0061\\/"', b"123456789012345678901234567890"])
def test_the_id_of_a_request_is_echoed_as_it_is_spelled(given: bytes) -> None:
    message = decode_message(b'{"jsonrpc":"2.0","id":' + given + b',"method":"m"}')
    assert message.wants_answer
    assert encode_internal_error(message.id).startswith(b'{"jsonrpc":"2.0","id":' + given + b',"error":')
