import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from gateway.adapter.health_services import encode_services, health_response, reason_of, service_names

STATES = {"": health_pb2.HealthCheckResponse.SERVING, "components/ü": health_pb2.HealthCheckResponse.NOT_SERVING}


@pytest.mark.parametrize("states", [{}, STATES, {"x" * 300: 0}])
def test_names_come_back(states: dict[str, int]) -> None:
    assert service_names(encode_services(states)) == list(states)


def test_what_is_cut_is_refused() -> None:
    with pytest.raises(DecodeError):
        service_names(encode_services(STATES)[:-1])


@pytest.mark.parametrize("reason", [None, "", "the state is lost: ü.db", "\udcff", "x" * 10_000])
def test_a_reason_comes_back_beside_the_state(reason: str | None) -> None:
    sent = health_response(health_pb2.HealthCheckResponse.NOT_SERVING, reason).SerializeToString()
    received = health_pb2.HealthCheckResponse.FromString(sent)
    assert received.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert reason_of(received) == (reason and reason.replace("\udcff", "?"))
