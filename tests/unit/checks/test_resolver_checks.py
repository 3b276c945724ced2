"""What breaks the mesh's names in a resolver, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.checks.resolver_checks import check_agreement, check_anchors, check_search, nameservers
from meshfab.config.settings import Settings
from meshfab.dns.client import DnsAnswer
from meshfab.errors import DnsError
from meshfab.fleet import resolver_look

if TYPE_CHECKING:
    from meshfab.checks.finding import Finding

RIGHT, WRONG = DnsAnswer(("10.87.0.12",), 60), DnsAnswer(("192.168.1.9",), 60)


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("search internal\n", True),
        ("domain Internal.\n", True),
        ("search lan internal home\n", True),
        ("search lan\n# search internal\n", False),
        ("search corp.internal\n", False),
        ("", False),
    ],
)
def test_a_search_domain_that_is_ours_is_found(text: str, is_found: bool) -> None:
    found = list(check_search(text, "internal"))
    assert [one.code for one in found] == ["dns-search"] * is_found


@pytest.mark.parametrize(
    ("negative", "domain", "is_found"),
    [
        ("10.in-addr.arpa\nhome\n", "internal", True),
        ("home internal.\n", "internal", False),
        ("home example\n", "mesh.example", False),
        ("home\n", "mesh.example", True),
        ("", "internal", False),
    ],
    ids=["replaced", "with ours", "with a parent of ours", "without", "built in"],
)
def test_negative_anchors_of_somebodys_own_must_have_the_domain(negative: str, domain: str, is_found: bool) -> None:
    assert [one.code for one in check_anchors(negative, domain)] == ["dns-anchor"] * is_found


@pytest.mark.parametrize(
    ("answers", "server", "codes"),
    [
        ({"10.87.0.1": RIGHT, "10.87.0.2": RIGHT}, None, []),
        ({"10.87.0.1": RIGHT, "192.168.1.1": DnsAnswer()}, None, ["dns-resolvers"]),
        ({"10.87.0.1": WRONG}, RIGHT, ["dns-resolvers"]),
        ({"10.87.0.1": DnsAnswer(RIGHT.addresses, 3600)}, RIGHT, ["dns-cache"]),
        ({"10.87.0.1": DnsAnswer(RIGHT.addresses, 59)}, RIGHT, []),
        ({}, RIGHT, []),
    ],
    ids=["agree", "one says nothing", "the server differs", "kept too long", "kept", "nobody answers"],
)
def test_resolvers_are_compared(answers: dict[str, DnsAnswer], server: DnsAnswer | None, codes: list[str]) -> None:
    assert [one.code for one in check_agreement("tea.internal", answers, server)] == codes


def test_a_disagreement_shows_who_says_what() -> None:
    [finding] = check_agreement("tea.internal", {"10.87.0.1": RIGHT, "10.87.0.2": DnsAnswer()}, WRONG)
    assert "10.87.0.1 says 10.87.0.12; 10.87.0.2 says nothing; the mesh's server says 192.168.1.9" in finding.message


@given(st.text(max_size=300))
def test_any_configuration_is_read(text: str) -> None:
    assert len(nameservers(text)) <= 3
    list(check_search(text, "internal"))
    list(check_anchors(text, "internal"))


def look(monkeypatch: pytest.MonkeyPatch, answers: dict[str, DnsAnswer | None], resolv_conf: str) -> list[Finding]:
    def ask(server: tuple[str, int], _fqdn: str) -> DnsAnswer:
        answer = answers[server[0]]
        if answer is None:
            raise DnsError("no answer")
        return answer

    monkeypatch.setattr("meshfab.dns.client.ask", ask)
    options = {"kind": "command", "command": ["own"], "server": "10.87.0.53"}
    settings = Settings(mesh_network=("10.87.0.0/16",), dns=options)
    return list(resolver_look.look(resolv_conf, "", ["tea.internal"], settings))


def test_each_resolver_of_a_machine_is_asked_and_none_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    both = "nameserver 10.87.0.1\nnameserver 192.168.1.1\nnameserver 9.9.9.9\n"
    server = {"10.87.0.53": RIGHT}
    assert look(monkeypatch, {**server, "10.87.0.1": RIGHT, "192.168.1.1": RIGHT}, both) == []
    assert look(monkeypatch, {**server, "10.87.0.1": RIGHT, "192.168.1.1": None}, both) == []
    found = look(monkeypatch, {**server, "10.87.0.1": RIGHT, "192.168.1.1": DnsAnswer()}, both)
    assert [one.code for one in found] == ["dns-resolvers"]
