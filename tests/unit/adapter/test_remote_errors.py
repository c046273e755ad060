import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.remote_errors import parse_path, remote_error
from gateway.core import errors
from gateway.core.errors import GatewayError, InvalidParams, RemoteError, render_path

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GatewayError) and hasattr(kind, "reason")
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_ours_is_known_by_its_reason(kind: type[GatewayError]) -> None:
    error = remote_error(kind.code, "m", data="[1]", reason=kind.reason, retry_after=2.0)
    assert type(error) is kind
    assert (error.message, error.data, error.retry_after) == ("m", "[1]", 2.0)
    assert error.jsonrpc_code == kind.code


@pytest.mark.parametrize("code", sorted({kind.code for kind in KINDS} | {-32000, -32100, 0, 7, 2**63}))
@pytest.mark.parametrize("reason", [None, "", "NOT_OURS", "FLOW_NOT_FOUND"])
def test_the_code_is_always_kept(code: int, reason: str | None) -> None:
    error = remote_error(code, "m", reason=reason)
    assert (error.jsonrpc_code, error.message) == (code, "m")


def test_an_unknown_code_is_remote() -> None:
    assert isinstance(remote_error(-32100, "m"), RemoteError)
    assert isinstance(remote_error(-32000, "m"), RemoteError)


def test_bad_parameters_without_violations_keep_their_message() -> None:
    error = remote_error(-32602, "m")
    assert isinstance(error, InvalidParams)
    assert [(violation.path, violation.description) for violation in error.violations] == [((), "m")]


@given(st.lists(st.text(min_size=1) | st.integers(0, 2**31)))
def test_paths_render_the_same_again(parts: list[str | int]) -> None:
    text = render_path(tuple(parts))
    assert render_path(parse_path(text)) == text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ()),
        ("flow_id", ("flow_id",)),
        ("inputs[3].json", ("inputs", 3, "json")),
        ("steps[0].input.a[10][2]", ("steps", 0, "input", "a", 10, 2)),
        ("variables.a..b", ("variables.a..b",)),
        ("a[01]", ("a[01]",)),
    ],
)
def test_parses(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text) == path
