"""A host with two addresses: provision and check-certs ask where clients go, and give the same answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lab import layout
from lab.services import dns, hosts
from tests.integration.on_host import Site, assert_done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

HOST = "h5"
SECOND = "10.87.1.15"


@pytest.fixture
def site(mesh: Mesh) -> Iterator[Site]:
    mesh.reset(HOST)
    hosts.run(HOST, f"ip address add {SECOND}/16 dev host0")
    yield Site(HOST)
    hosts.run(HOST, f"ip address del {SECOND}/16 dev host0")
    mesh.reset(HOST)


def certificate(inv: Inv, site: Site) -> dict[str, Any]:
    """What check-certs reports of the site."""
    report = json.loads(inv("check-certs", "--host", HOST, "--format", "json").stdout)
    return next(row for row in report["hosts"][0]["certificates"] if row["name"] == site.name)


def codes(row: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in row["findings"]]


def test_the_address_in_dns_is_the_one_that_is_asked(site: Site, inv: Inv) -> None:
    dns.point_at(site.name, SECOND)
    output = assert_done(inv("provision", *site.words))
    assert f"at {SECOND}:443 is the leaf on disk" in output
    assert codes(certificate(inv, site)) == []


@pytest.mark.slow
def test_a_vhost_on_the_address_that_clients_do_not_reach_is_not_served(site: Site, inv: Inv) -> None:
    dns.point_at(site.name, SECOND)
    first = layout.address(HOST)
    done = inv("provision", *site.words, "--listen", first)
    assert done.returncode == 1
    assert f"clients at {SECOND}:443" in done.stderr
    assert f"listens on {first} only" in done.stderr
    assert f"--listen {SECOND}" in done.stderr
    assert site.sh(f"test ! -e {site.vhost} && echo restored") == "restored"
    # The remedy that the message names.
    assert f"at {SECOND}:443 is the leaf on disk" in assert_done(inv("provision", *site.words, "--listen", SECOND))
    assert codes(certificate(inv, site)) == []


def test_where_clients_stop_being_served_both_commands_say_so(site: Site, inv: Inv) -> None:
    first = layout.address(HOST)
    assert_done(inv("provision", *site.words, "--listen", first))
    assert codes(certificate(inv, site)) == []
    # Now DNS names the other address, where nothing listens.
    dns.point_at(site.name, SECOND)
    row = certificate(inv, site)
    assert codes(row) == ["not-served"]
    assert SECOND in row["findings"][0]["message"]
    done = inv("provision", *site.words)
    assert done.returncode == 1
    assert f"clients at {SECOND}:443" in done.stderr
    assert "nothing to do" not in done.stdout


@pytest.mark.slow
def test_every_address_that_the_name_has_is_asked(site: Site, inv: Inv) -> None:
    first = layout.address(HOST)
    dns.point_at(site.name, first)
    dns.add_address(site.name, SECOND)
    assert_done(inv("provision", *site.words))
    # A server of somebody else's takes the second address away: nginx picks the socket before the name.
    site.write(
        "/etc/nginx/conf.d/other.conf",
        f"server {{ listen {SECOND}:443 ssl; server_name other; ssl_certificate {site.cert}; ssl_certificate_key"
        f" {site.key}; ssl_reject_handshake on; }}\n",
    )
    site.sh("systemctl restart nginx")
    row = certificate(inv, site)
    assert codes(row) == ["not-served"]
    assert SECOND in row["findings"][0]["message"]
    done = inv("provision", *site.words)
    assert done.returncode == 1
    assert f"clients at {SECOND}:443" in done.stderr
