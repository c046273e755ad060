import pytest

from gateway.runtimes.temporal.address import TemporalAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("temporal://localhost:7233/default", TemporalAddress("localhost:7233", "default")),
        ("temporals://[::1]:7233/a.b-1_c", TemporalAddress("[::1]:7233", "a.b-1_c", encrypted=True)),
        ("temporals://ns.acct.tmprl.cloud:7233/ns.acct", TemporalAddress("ns.acct.tmprl.cloud:7233", "ns.acct", True)),
    ],
)
def test_an_address_names_a_server_and_a_namespace(text: str, address: TemporalAddress) -> None:
    assert TemporalAddress.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("temporal://localhost:7233", "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255"),
        ("temporal://localhost:7233/", "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255"),
        ("temporal://localhost:7233/a/b", "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255"),
        ("temporal://localhost:7233/-a", "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255"),
        ("temporal://localhost:7233/a", "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255"),
        (
            "temporal://localhost:7233/" + "a" * 256,
            "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255",
        ),
        ("temporal://localhost:7233/a b", "expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 to 255"),
        ("temporal://localhost/default", "the port is missing"),
        ("temporal://localhost:0/default", "expected temporal://"),
        ("temporal://unix:/socket/default", "expected temporal://"),
        ("temporal://user@localhost:7233/default", "leave 'user@' out"),
        ("grpc://localhost:7233/default", "expected temporal://"),
        ("localhost:7233/default", "expected temporal://"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TemporalAddress.parse(text)
