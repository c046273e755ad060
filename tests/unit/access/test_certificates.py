"""Identities by client certificates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.certificates import CertificateCallers, CertificateRule, identities_of
from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.presented import PeerCertificate, Presented
from gateway.core.caller import CallerView
from gateway.core.errors import PermissionDenied, Unauthenticated
from gateway.core.owner import Permission
from tests.support.identities import bearer

ROLES = Roles({"reader": (Permission.READ,)})
READ = ("runs:read",)


def callers(*identities: str) -> CertificateCallers:
    rules = (CertificateRule(identity=name, permissions=READ, namespace=f"n{n}") for n, name in enumerate(identities))
    return CertificateCallers(rules, ROLES)


def spiffe(path: str) -> PeerCertificate:
    return PeerCertificate((f"spiffe://mesh/{path}",), ("host.example",), "common")


def test_the_spiffe_id_counts_first_then_dns_names_then_the_common_name() -> None:
    assert identities_of(spiffe("ns/a")) == ["spiffe://mesh/ns/a"]
    assert identities_of(PeerCertificate(("https://x/",), ("A.example", "b.example"), "common")) == [
        "a.example",
        "b.example",
    ]
    assert identities_of(PeerCertificate((), (), "Common")) == ["common"]
    assert identities_of(PeerCertificate()) == []


@pytest.mark.parametrize(
    "certificate",
    [
        PeerCertificate(("spiffe://mesh/a", "spiffe://mesh/b"), ("host.example",), "common"),
        PeerCertificate((), (), "spiffe://mesh/ns/a"),
        PeerCertificate((), (), "a\nb"),
        PeerCertificate((), (), ""),
        PeerCertificate(("SPIFFE://mesh/a\0",)),
        PeerCertificate(("SPIFFE://mesh/a",), ("host.example",)),
        PeerCertificate((), ("spiffe://mesh/ns/a",)),
        PeerCertificate((), ("client.example\0.evil.example",)),
        PeerCertificate((), ("host.example", "host example")),
    ],
)
def test_a_certificate_that_pretends_has_no_name(certificate: PeerCertificate) -> None:
    assert identities_of(certificate) == []
    with pytest.raises(Unauthenticated):
        callers("*").caller(certificate)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://mesh/ns/team-a/../team-b/x",
        "spiffe://mesh/ns/team-a/./x",
        "spiffe://mesh/ns/team-a/..",
        "spiffe://mesh/ns/team-a/.",
        "spiffe://mesh/ns/team-a//x",
        "spiffe://mesh/ns/team-a/",
        "spiffe://mesh/",
        "spiffe:///ns/team-a/x",
        "spiffe://",
        "spiffe://mesh/ns/team-a/x?y",
        "spiffe://mesh/ns/team-a/x#z",
        "spiffe://mesh?y",
        "spiffe://mesh/ns/team-a/%2e%2e/team-b",
        "spiffe://mesh/ns/team-a/x\n",
        "spiffe://mesh/ns/team-a/\u00e9",
        "spiffe://Mesh/ns/team-a/x",
        "spiffe://mesh:443/ns/team-a/x",
        "spiffe://user@mesh/ns/team-a/x",
        f"spiffe://mesh/{'x' * 2_048}",
    ],
)
def test_an_id_that_is_not_well_formed_is_none(uri: str) -> None:
    certificate = PeerCertificate((uri,), ("host.example",), "common")
    assert identities_of(certificate) == []
    with pytest.raises(Unauthenticated):
        callers("*", "spiffe://mesh/ns/team-a/*").caller(certificate)


@pytest.mark.parametrize("uri", ["spiffe://mesh", "spiffe://m-1.e_x/ns/Team-A/..x/x..y/...", "spiffe://mesh/-/_/.a"])
def test_ids_that_are_well_formed(uri: str) -> None:
    assert identities_of(PeerCertificate((uri,))) == [uri]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("spiffe://mesh/ns/a", ["ns/a"], ["ns/ab", "ns", "x/ns/a", "ns/a/sa/b", "NS/a"]),
        ("spiffe://mesh/ns/*", ["ns/a", "ns/a/sa/b", "ns/..."], ["ns", "nsx/a", "ns/"]),
        ("spiffe://mesh/ns/*/sa/ci", ["ns/a/sa/ci", "ns/a.b/sa/ci"], ["ns/a/b/sa/ci", "ns/a/sa/cix"]),
        ("spiffe://mesh/ns/a.b", ["ns/a.b"], ["ns/aab"]),
        ("spiffe://*/ns/a", ["ns/a"], ["x/ns/a"]),
        ("host.example", [], ["ns/a"]),
        ("common", [], ["ns/a"]),
        ("*", ["ns/a"], []),
    ],
)
def test_a_pattern_is_for_the_whole_id(pattern: str, matching: list[str], others: list[str]) -> None:
    rules = callers(pattern)
    for path in matching:
        assert rules.caller(spiffe(path)).identity == f"spiffe://mesh/{path}"
    for path in others:
        with pytest.raises(Unauthenticated):
            rules.caller(spiffe(path))


def test_names_of_hosts_have_no_case_and_a_star_is_for_one_part() -> None:
    rules = callers("*.Team.example")
    assert rules.caller(PeerCertificate((), ("other.example", "CI.team.EXAMPLE"))).identity == "ci.team.example"
    for name in ("a.b.team.example", "team.example", "ci.team.example.org", "citeam.example"):
        with pytest.raises(Unauthenticated):
            rules.caller(PeerCertificate((), (name,)))


def test_the_first_rule_that_matches_counts() -> None:
    rules = callers("spiffe://mesh/ns/a", "spiffe://mesh/ns/*", "*")
    views = [rules.caller(spiffe(path)).view for path in ("ns/a", "ns/b", "other")]
    assert views == [CallerView("n0"), CallerView("n1"), CallerView("n2")]


def test_a_rule_that_grants_what_cannot_be_granted_is_named() -> None:
    rule = CertificateRule(identity="a", permissions=("runs:everything",))
    with pytest.raises(ValueError, match=r"rule 1 \('a'\): 'runs:everything' is neither"):
        CertificateCallers([rule], ROLES)


def test_a_certificate_may_name_a_namespace_of_its_rule() -> None:
    access = ConfiguredAccess(certificates=callers("*"))
    caller = access.known(Presented(None, "n0", spiffe("a")))
    assert caller is not None
    assert access.known(Presented(None, "n0", spiffe("a"))) is caller
    with pytest.raises(PermissionDenied):
        access.known(Presented(None, "n1", spiffe("a")))


def test_beside_a_token_a_certificate_does_not_count() -> None:
    access = ConfiguredAccess(certificates=callers("*"))
    assert access.known(Presented(None, None, spiffe("a"))) is not None
    for authorization in (bearer("rgw_unknown"), "Basic x", ""):
        with pytest.raises(Unauthenticated):
            access.known(Presented(authorization, None, spiffe("a")))
    for certificate in (None, PeerCertificate()):
        with pytest.raises(Unauthenticated):
            access.known(Presented(None, None, certificate))


TEXTS = st.text(max_size=20)


@given(st.lists(TEXTS).map(tuple), st.lists(TEXTS).map(tuple), st.none() | TEXTS, TEXTS.filter(bool))
def test_any_certificate_is_told_or_refused(uris, dns_names, common_name, pattern) -> None:
    certificate = PeerCertificate(uris, dns_names, common_name)
    try:
        caller = callers(pattern).caller(certificate)
    except Unauthenticated:
        return
    assert caller.identity in identities_of(certificate)
    assert caller.permissions == {Permission.READ}
