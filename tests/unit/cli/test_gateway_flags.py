"""The flags of commands that talk to a gateway."""

import pytest

from gateway.cli.errors import UsageError
from gateway.cli.gateway_flags import GatewayFlags


@pytest.mark.parametrize("namespace", ["b\n", "", "Team", "a b", "é", "x" * 64])
def test_a_namespace_that_cannot_be_one_is_a_wrong_parameter(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^--namespace: expected 1 to 63 of a-z") as refused:
        GatewayFlags(namespace=namespace).checked()
    assert "\n" not in str(refused.value)
    if namespace:
        monkeypatch.setenv("RUNS_GATEWAY_NAMESPACE", namespace)
        with pytest.raises(UsageError, match=r"^RUNS_GATEWAY_NAMESPACE: expected"):
            GatewayFlags(namespace=namespace).checked()


def test_a_namespace_is_taken() -> None:
    assert GatewayFlags(namespace="team-a.b_c").checked().namespace == "team-a.b_c"


def test_which_flags_are_given_beside_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GatewayFlags().given() == []
    monkeypatch.setenv("RUNS_GATEWAY_ADDRESS", "gateway:1")
    monkeypatch.setenv("RUNS_GATEWAY_NAMESPACE", "team")
    assert GatewayFlags(address="gateway:1", namespace="team").given() == []
    assert GatewayFlags(address="other:1", namespace="team", insecure=True).given() == ["--address", "--insecure"]
