"""The hosts and services of the settings, and invalid declarations, which are refused before any connection."""

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
DECLARED["web"] |= {"verify_upstream": False, "keep_host": True}


def test_hosts_are_those_of_the_list_and_of_the_services_without_duplicates() -> None:
    assert inventory.hosts(Settings(hosts=("h3", "h2"), services=DECLARED)) == ("h3", "h2", "h1")
    assert inventory.hosts(Settings()) == ()


def test_a_host_has_the_services_that_name_it() -> None:
    settings = Settings(services=DECLARED)
    assert [service.name for service in inventory.services("h2", settings)] == ["tea", "web"]
    web = inventory.services("h1", settings)[0]
    assert (web.name, web.mtls, web.sans) == ("web", True, None)
    assert (web.verify_upstream, web.keep_host) == (False, True)
    assert inventory.services("h2", settings)[0].sans == ("green.internal",)
    assert inventory.services("h9", settings) == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "names no host"),
        ("h2", "is not a mapping"),
        ({"host": "h 2"}, "is not a host name"),
        ({"hosts": "h2"}, "is not a list of hosts"),
        ({"host": "h2", "sans": "a.internal"}, "meshfab.services.tea.sans is not a list"),
        ({"host": "h2", "sans": ["a b"]}, "is not a DNS name"),
        ({"host": "h2", "mtls": "yes"}, "meshfab.services.tea.mtls"),
        ({"host": "h2", "rekey_after": "5 d"}, "meshfab.services.tea.rekey_after '5 d' is not an age"),
        ({"host": "h2", "mtls": True}, "needs an https upstream"),
        ({"host": "h2", "upstream": "ftp://x"}, "the upstream"),
        ({"host": "h2", "verify_upstream": 0}, "meshfab.services.tea.verify_upstream"),
        ({"host": "h2", "upstream": "https://10.0.0.1"}, "has an address"),
        ({"host": "h2", "upstream": "http://x", "keep_host": True}, "keep-host needs an https upstream"),
        ({"host": "h2", "port": 443}, "unknown setting meshfab.services.tea.port"),
    ],
)
def test_an_invalid_declaration_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inventory.check(Settings(services={"tea": options}))


@pytest.mark.parametrize(
    "options",
    [{"host": "h 2"}, {"host": "h2", "sans": ["a b"]}, {"host": "h2", "upstream": "https://10.0.0.1", "mtls": True}],
)
def test_an_error_names_the_service(options: Any) -> None:
    with pytest.raises(InputError, match=r"^meshfab\.services\.milk: "):
        inventory.check(Settings(services={"tea": {"host": "h2"}, "milk": options, "web": {"host": "h1"}}))


def test_a_dns_name_belongs_to_one_service_of_a_host() -> None:
    services: dict[str, Any] = {"tea": {"host": "h1"}, "milk": {"hosts": ["h2", "h1"], "sans": ["tea.internal"]}}
    with pytest.raises(InputError) as caught:
        inventory.check(Settings(services=services))
    assert str(caught.value).startswith("meshfab.services.tea and meshfab.services.milk both claim tea.internal on h1")
    services["tea"] = {"host": "h3"}
    inventory.check(Settings(services=services))
    # A service that lists a host twice does not conflict with itself.
    inventory.check(Settings(services={"tea": {"host": "h1", "hosts": ["h1", "h2"]}}))


def test_a_service_may_name_a_host_and_more_hosts() -> None:
    settings = Settings(services={"tea": {"host": "h1", "hosts": ["h2", "h1"], "listen": ["10.0.0.1"], "vhost": False}})
    assert inventory.hosts(settings) == ("h1", "h2")
    (service,) = inventory.services("h1", settings)
    assert (service.listen, service.vhost) == (("10.0.0.1",), False)


def test_public_resolvers_are_addresses() -> None:
    assert Settings(public_resolvers=("9.9.9.9", "2620:fe::FE")).public_resolvers == ("9.9.9.9", "2620:fe::fe")
    for invalid in ("9.9.9.9", ["dns.example"], [9]):
        with pytest.raises(InputError, match=r"public_resolvers"):
            Settings(public_resolvers=invalid)  # type: ignore[arg-type]
