"""The keys of an issuer."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.access.algorithms import ALGORITHMS
from gateway.access.key_set import MAX_CANDIDATES, MAX_SET_KEYS, read_key_set
from tests.support.identities import Issuer, key_set

DEFAULT = ("RS256", "ES256", "EdDSA")
EC = Issuer("ES256")
RSA = Issuer("RS256", "rsa")


def entry(issuer: Issuer, **changed: object) -> dict:
    return {name: value for name, value in {**issuer.jwk, **changed}.items() if value is not None}


def read(*entries: object, algorithms: tuple[str, ...] = DEFAULT):
    return read_key_set(json.dumps({"keys": entries}).encode(), algorithms)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_is_found_by_its_algorithm_and_its_id(algorithm: str) -> None:
    issuer = Issuer(algorithm, "one")
    keys = read_key_set(key_set(issuer, EC).encode(), (*DEFAULT, "ES384", "ES512"))
    (found,) = keys.find(algorithm, "one")
    assert (found.kid, found.key.algorithm_name) == ("one", algorithm)
    assert found.heavy == (algorithm in {"ES384", "ES512"})
    for other in set(ALGORITHMS) - {algorithm}:
        assert keys.find(other, "one") == []
    assert keys.find(algorithm, "../one") == []


def test_a_key_without_an_algorithm_is_for_those_of_its_kind() -> None:
    keys = read(entry(RSA, alg=None), algorithms=("RS256", "PS512", "ES256"))
    assert len(keys.find("RS256", "rsa")) == len(keys.find("PS512", "rsa")) == 1
    assert keys.find("RS512", "rsa") == keys.find("ES256", "rsa") == []
    keys = read(entry(RSA), algorithms=("RS256", "PS512"))
    assert keys.find("PS512", "rsa") == []


def test_a_token_without_an_id_is_tried_with_few_keys() -> None:
    for number, found in ((MAX_CANDIDATES, MAX_CANDIDATES), (MAX_CANDIDATES + 1, 0)):
        keys = read(*(entry(EC, kid=str(n)) for n in range(number)))
        assert len(keys.find("ES256", None)) == found


@pytest.mark.parametrize(
    "left_out",
    [
        entry(EC, use="enc"),
        entry(EC, key_ops=["encrypt"]),
        entry(EC, key_ops=1),
        entry(EC, alg="ES384"),
        entry(EC, kid=7),
        entry(EC, x="AA"),
        entry(EC, x=7),
        entry(EC, crv="secp256k1"),
        entry(EC, crv=["P-256"]),
        entry(EC, kty="RSA"),
        entry(RSA, n="AQAB"),
        entry(RSA, e="AA"),
        entry(RSA, e="AQAAAAAAAAAB"),
        {"kty": "unknown"},
        {},
    ],
)
def test_keys_that_cannot_be_used_are_left_out(left_out: dict) -> None:
    keys = read(left_out, entry(EC, kid="good"))
    assert [key.kid for key in keys.find("ES256", None)] == ["good"]
    with pytest.raises(ValueError, match="has no key for RS256, ES256, EdDSA"):
        read(left_out)


@pytest.mark.parametrize("bits", [1_024, 2_048])
def test_short_keys_are_left_out(bits: int) -> None:
    jwk = RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, bits).public_key(), as_dict=True)
    keys = read(jwk, entry(RSA))
    assert len(keys.find("RS256", None)) == (1 if bits == 1_024 else 2)


@pytest.mark.parametrize("member", [{"d": "AA"}, {"k": "AA", "kty": "oct"}])
def test_private_keys_are_refused(member: dict) -> None:
    with pytest.raises(ValueError, match="public ones alone") as error:
        read(entry(EC), {**entry(RSA), **member})
    assert "AA" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", '{"keys": 1}', '{"keys": [1]}', "[" * 100_000, "\xff"])
def test_what_is_no_set_of_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a JWKS"):
        read_key_set(text.encode("latin-1"), DEFAULT)


def test_a_set_has_a_most_number_of_keys() -> None:
    with pytest.raises(ValueError, match="100 keys at most"):
        read(*[entry(EC)] * (MAX_SET_KEYS + 1))
