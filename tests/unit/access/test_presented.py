"""What a caller presents."""

from gateway.access.presented import Presented

SECRET = "rgw_secret"


def test_its_text_has_no_token() -> None:
    """Such texts get into logs and traces."""
    presented = Presented(f"Bearer {SECRET}", "a")
    assert SECRET not in f"{presented} {presented!r} {[presented]}"
    assert repr(presented) == "Presented(authorization=..., namespace='a', certificate=None)"
    assert repr(Presented()) == "Presented(authorization=None, namespace=None, certificate=None)"
