import pytest

from gateway.core.errors import InvalidRequest
from gateway.fronts.web.timeouts import connect_timeout, grpc_timeout


def test_no_header_is_no_deadline() -> None:
    assert connect_timeout(None) is None
    assert grpc_timeout(None) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("1H", 3_600.0), ("2M", 120.0), ("3S", 3.0), ("4m", 0.004), ("5u", 5e-6), ("99999999n", 0.099999999)],
)
def test_deadlines_of_grpc_have_a_unit(header: str, seconds: float) -> None:
    assert grpc_timeout(header) == pytest.approx(seconds)


def test_deadlines_of_connect_are_milliseconds() -> None:
    assert connect_timeout("1500") == 1.5
    assert connect_timeout("0") == 0


@pytest.mark.parametrize("header", ["", "-1", "1.5", "soon", "12345678901", "\u0661", "1 "])
def test_other_deadlines_of_connect_are_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        connect_timeout(header)


@pytest.mark.parametrize("header", ["", "1", "S", "123456789S", "1s", "-1S", "\u0661S", "1S "])
def test_other_deadlines_of_grpc_are_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        grpc_timeout(header)
