"""`inv revoke --serial`: the CA renews that certificate no more, whoever has its pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.services import ca
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab
SIGNED = ("--signing", "operator")


@pytest.fixture(scope="module", autouse=True)
def clean_afterwards(mesh: Mesh) -> Iterator[None]:
    yield
    mesh.reset("h2")


@pytest.fixture
def site(clean_host: str, inv: Inv) -> Site:
    site = Site(clean_host)
    assert_done(inv("provision", *site.words))
    return site


def serial(site: Site) -> str:
    """In hex, as openssl prints it."""
    return "0x" + site.serial().partition("=")[2]


def renews(site: Site, cert: str) -> bool:
    """Whether the CA renews a certificate for whoever has its pair."""
    renew = f"step ca renew --force --out /root/renewed.pem --ca-url {layout.CA_URL} --root {layout.ROOT_ON_HOST}"
    output = site.sh(f"{renew} {cert} {site.key} 2>&1", check=False)
    assert "has been saved" in output or "lacked necessary authorization" in output, output
    return "has been saved" in output


def test_a_token_revokes_one_serial_and_no_other(site: Site, inv: Inv) -> None:
    old = serial(site)
    site.sh(f"cp {site.cert} /root/old.pem")
    assert_done(inv("renew", *site.words))
    assert renews(site, "/root/old.pem")
    assert "is revoked" in assert_done(inv("revoke", "--serial", old, *SIGNED))
    assert not renews(site, "/root/old.pem")
    assert renews(site, site.cert)
    assert "was revoked before" in assert_done(inv("revoke", "--serial", old, *SIGNED))


def test_where_hosts_mint_the_pair_revokes_itself(site: Site, inv: Inv) -> None:
    old = serial(site)
    assert_refused(inv("revoke", "--serial", old), "nothing here can sign")
    assert f"that of {site.fqdn}" in assert_done(inv("revoke", "--serial", old, "--host", site.host))
    assert not renews(site, site.cert)
    assert "was revoked before" in assert_done(inv("revoke", "--serial", old, "--host", site.host))
    assert_refused(inv("revoke", "--serial", "17", "--host", site.host), site.host, "no service of this host")


def test_a_ca_that_is_down_is_one_line(site: Site, inv: Inv) -> None:
    ca.stop()
    try:
        assert_refused(inv("revoke", "--serial", serial(site), *SIGNED), layout.CA_URL)
        assert_refused(inv("revoke", "--serial", serial(site), "--host", site.host), site.host, layout.CA_URL)
    finally:
        ca.start()
    assert renews(site, site.cert)
