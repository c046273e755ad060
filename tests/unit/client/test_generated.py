"""The blocking client is the one that is made from the asynchronous client."""

from tests.support.blocking_client import MADE, SOURCE, blocking


def test_the_blocking_client_is_the_generated_one() -> None:
    made = MADE.read_text(encoding="utf-8")
    assert made == blocking(SOURCE.read_text(encoding="utf-8")), "`make blocking-client` writes it anew"
