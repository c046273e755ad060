"""The blocking client is the one that is made from the asynchronous client."""

from tests.support.blocking_client import blocking_client


def test_the_blocking_client_is_the_generated_one() -> None:
    written = {file: file.read_text(encoding="utf-8") for file in blocking_client()}
    assert written == blocking_client(), "`make blocking-client` writes it anew"
