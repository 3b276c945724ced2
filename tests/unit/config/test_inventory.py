"""What the settings declare, and the declarations that are refused before any connection."""

from __future__ import annotations

from typing import Any

import pytest

from meshfab import Settings
from meshfab.config import inventory
from meshfab.errors import InputError

DECLARED: dict[str, dict[str, Any]] = {
    "tea": {"host": "h2", "sans": ["green.internal"]},
    "web": {"hosts": ["h1", "h2"], "upstream": "https://app.internal:8443", "mtls": True},
}


def test_hosts_are_those_of_the_list_and_of_the_services_each_once() -> None:
    assert inventory.hosts(Settings(hosts=("h3", "h2"), services=DECLARED)) == ("h3", "h2", "h1")
    assert inventory.hosts(Settings()) == ()


def test_a_host_has_the_services_that_name_it() -> None:
    settings = Settings(services=DECLARED)
    assert [one.name for one in inventory.services("h2", settings)] == ["tea", "web"]
    web = inventory.services("h1", settings)[0]
    assert (web.name, web.mtls, web.sans) == ("web", True, None)
    assert inventory.services("h2", settings)[0].sans == ("green.internal",)
    assert inventory.services("h9", settings) == ()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "names no host"),
        ("h2", "is not a mapping"),
        ({"host": "h 2"}, "is not a host name"),
        ({"hosts": "h2"}, "is not a list of hosts"),
        ({"host": "h2", "sans": "a.internal"}, "meshfab.services.tea.sans is not a list"),
        ({"host": "h2", "sans": ["a b"]}, "is not a DNS name"),
        ({"host": "h2", "mtls": "yes"}, "meshfab.services.tea.mtls"),
        ({"host": "h2", "mtls": True}, "needs an https upstream"),
        ({"host": "h2", "upstream": "ftp://x"}, "the upstream"),
        ({"host": "h2", "port": 443}, "unknown setting meshfab.services.tea.port"),
    ],
)
def test_a_declaration_with_a_fault_is_named(said: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        inventory.check(Settings(services={"tea": said}))


@pytest.mark.parametrize(
    "said",
    [{"host": "h 2"}, {"host": "h2", "sans": ["a b"]}, {"host": "h2", "upstream": "https://10.0.0.1", "mtls": True}],
)
def test_a_fault_names_its_service_among_many(said: Any) -> None:
    with pytest.raises(InputError, match=r"^meshfab\.services\.milk: "):
        inventory.check(Settings(services={"tea": {"host": "h2"}, "milk": said, "web": {"host": "h1"}}))


def test_a_name_is_claimed_by_one_service_of_a_host() -> None:
    twice: dict[str, Any] = {"tea": {"host": "h1"}, "milk": {"hosts": ["h2", "h1"], "sans": ["tea.internal"]}}
    with pytest.raises(InputError) as caught:
        inventory.check(Settings(services=twice))
    assert str(caught.value).startswith("meshfab.services.tea and meshfab.services.milk both claim tea.internal on h1")
    twice["tea"] = {"host": "h3"}
    inventory.check(Settings(services=twice))
    # The same service on a host that it names twice claims nothing twice.
    inventory.check(Settings(services={"tea": {"host": "h1", "hosts": ["h1", "h2"]}}))


def test_a_service_may_name_a_host_and_more_hosts() -> None:
    settings = Settings(services={"tea": {"host": "h1", "hosts": ["h2", "h1"], "listen": ["10.0.0.1"], "vhost": False}})
    assert inventory.hosts(settings) == ("h1", "h2")
    (one,) = inventory.services("h1", settings)
    assert (one.listen, one.vhost) == (("10.0.0.1",), False)


def test_public_resolvers_are_addresses() -> None:
    assert Settings(public_resolvers=("9.9.9.9", "2620:fe::FE")).public_resolvers == ("9.9.9.9", "2620:fe::fe")
    for wrong in ("9.9.9.9", ["dns.example"], [9]):
        with pytest.raises(InputError, match=r"public_resolvers"):
            Settings(public_resolvers=wrong)  # type: ignore[arg-type]
