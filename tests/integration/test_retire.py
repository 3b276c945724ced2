"""`inv retire`: not served, cannot renew, no file left; and nothing is touched that somebody else's vhost needs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.services import ca
from meshfab.host import certificate, history
from tests.integration.conftest import CHECKOUT
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab
SIGNED = ("--signing", "operator")
OWNED = "/etc /usr/local /var/lib /run/meshfab /tmp"


@dataclass
class Retired(Site):
    """A service that is retired, with copies of all pairs that it ever had, in /root/pairs."""

    copies: list[str] = field(default_factory=list)

    def copy(self) -> None:
        """Keep the present pair, and record it in the history as the tick does."""
        copy = f"/root/pairs/{len(self.copies)}"
        self.copies.append(copy)
        self.sh(f"mkdir -p {copy} && cp {self.cert} {copy}/cert && cp {self.key} {copy}/key")
        line = history.line(certificate.read_leaf(self.sh(f"cat {self.cert}")))
        file = f"/var/lib/meshfab/{self.name}.history"
        self.sh(
            f"mkdir -p -m 0700 {Path(file).parent}; grep -qs '^{line.split()[0]} ' {file} || echo '{line}' >>{file}"
        )

    def renews(self) -> list[str]:
        """The copies that the CA still renews for whoever has them."""
        renew = f"step ca renew --force --out /root/out.pem --ca-url {layout.CA_URL} --root {layout.ROOT_ON_HOST}"
        renewed = []
        for copy in self.copies:
            output = self.sh(f"{renew} {copy}/cert {copy}/key 2>&1", check=False)
            assert "has been saved" in output or "lacked necessary authorization" in output, output
            renewed += [copy] * ("has been saved" in output)
        return renewed

    def left(self) -> str:
        """Everything on the host whose name has the service's, but the copies of the tests."""
        return self.sh(f"find {OWNED} -name '*{self.name}*' ! -path '/root/*'", check=False)

    def end(self, copies: int) -> str:
        """The end of a copy's life, as messages have it."""
        leaf = certificate.read_leaf(self.sh(f"cat /root/pairs/{copies}/cert"))
        return f"{leaf.not_after:%Y-%m-%d %H:%M} UTC"


@pytest.fixture(scope="module", autouse=True)
def clean_afterwards(mesh: Mesh) -> Iterator[None]:
    yield
    mesh.reset("h1", "h2", "h3")


@pytest.fixture
def site(clean_host: str, inv: Inv) -> Retired:
    site = Retired(clean_host)
    assert_done(inv("provision", *site.words))
    site.copy()
    return site


BOTH = pytest.mark.parametrize(
    "clean_host", ["h1", pytest.param("h2", marks=pytest.mark.slow)], indirect=True, ids=["debian", "fedora"]
)


def grown(site: Retired, inv: Inv) -> None:
    """One more renewal, and one more mint with another key."""
    assert_done(inv("renew", *site.words))
    site.copy()
    assert_done(inv("reissue", *site.words))
    site.copy()


@BOTH
def test_no_earlier_pair_renews_and_nothing_is_left(site: Retired, inv: Inv) -> None:
    grown(site, inv)
    assert len(site.renews()) == 3
    before = site.look()
    plan = assert_done(inv("retire", *site.words, *SIGNED, "--dry-run"))
    assert site.look() == before
    for path in (site.vhost, site.cert, site.key, f"/etc/meshfab/{site.name}.env"):
        assert path in plan
    said = assert_done(inv("retire", *site.words, *SIGNED))
    assert said.count("renewed no more") == 3
    assert site.renews() == []
    assert site.left() == ""
    assert site.fqdn not in site.sh("nginx -T 2>&1")
    assert site.sh("systemctl list-units --all --no-legend --plain 'step@*'", check=False) == ""
    assert site.served() == ""
    before = site.look()
    assert "nothing to do" in assert_done(inv("retire", *site.words, *SIGNED))
    assert site.look() == before
    # The name can be used again.
    assert_done(inv("provision", *site.words))
    assert site.served() == site.serial() != ""


def test_no_token_revokes_a_serial_that_the_host_only_names(site: Retired, inv: Inv) -> None:
    other = Retired("h3")
    assert_done(inv("provision", *other.words))
    other.copy()
    site.sh(
        f"cat >>/var/lib/meshfab/{site.name}.history",
        stdin=other.sh(f"cat /var/lib/meshfab/{other.name}.history") + "\n",
    )
    said = assert_done(inv("retire", *site.words, *SIGNED))
    assert said.count("unrevoked") == 1
    assert other.renews() == other.copies


@pytest.mark.slow
def test_where_hosts_mint_what_cannot_be_revoked_is_listed_with_its_end(site: Retired, inv: Inv) -> None:
    grown(site, inv)
    said = assert_done(inv("retire", *site.words))
    assert site.renews() == site.copies[:-1]
    listed = [line for line in said.splitlines() if line.split()[0] == "unrevoked"]
    assert len(listed) == 2
    assert site.end(0) in listed[0]
    assert site.end(1) in listed[1]
    assert f"the last certificate that is not revoked ends {site.end(1)}" in said
    assert site.left() == ""


def test_without_revocation_every_certificate_is_listed(site: Retired, inv: Inv) -> None:
    said = assert_done(inv("retire", *site.words, "--no-revoke"))
    assert f"not revoked ends {site.end(0)}" in said
    assert site.renews() == site.copies
    assert site.left() == ""


REFERENCES = {
    "a vhost of its own": (
        "server {{\n listen 8443 ssl;\n server_name other.internal;\n ssl_certificate {cert};\n"
        " ssl_certificate_key {key};\n}}",
        ("own.conf:4", "own.conf:5"),
    ),
    "an upstream": (
        "server {{\n listen 8080;\n location / {{\n  proxy_pass https://127.0.0.1:1;\n  proxy_ssl_certificate {cert};\n"
        "  proxy_ssl_certificate_key tls/key/{fqdn}.pem;\n }}\n}}",
        ("own.conf:5", "own.conf:6"),
    ),
    "the snippet": (
        "server {{\n listen 8443 ssl;\n server_name {fqdn};\n include snippets/{fqdn}.tls.conf;\n}}",
        ("own.conf:4",),
    ),
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_else_names_the_pair_stops_it(site: Retired, inv: Inv, reference: str) -> None:
    if reference == "the snippet":
        site.sh(f"rm {site.vhost}; systemctl reload nginx")
        assert_done(inv("provision", *site.words, "--no-vhost"))
    text, places = REFERENCES[reference]
    site.write("/etc/nginx/conf.d/own.conf", text.format(cert=site.cert, key=site.key, fqdn=site.fqdn))
    site.sh("nginx -t 2>&1 && systemctl reload nginx")
    before = site.look()
    for more in ((), ("--dry-run",)):
        line = assert_refused(inv("retire", *site.words, *more), site.host, *places)
        assert "nothing was changed" in line
    assert site.look() == before
    assert site.sh(f"systemctl is-active {site.timer}") == "active"
    assert site.renews() == site.copies
    site.sh("rm /etc/nginx/conf.d/own.conf; systemctl reload nginx")
    assert_done(inv("retire", *site.words))
    assert site.left() == ""


def test_a_vhost_that_was_edited_goes_by_force_only(site: Retired, inv: Inv) -> None:
    site.sh(f"echo '# mine' >>{site.vhost}")
    before = site.look()
    assert_refused(inv("retire", *site.words), site.vhost, "--force")
    assert site.look() == before
    assert_done(inv("retire", *site.words, "--force"))
    assert site.left() == ""


def test_a_vhost_that_somebody_wrote_under_our_name_is_left(site: Retired, inv: Inv) -> None:
    hand = "server { listen 8081; return 204; }"
    site.write(site.vhost, hand)
    site.sh("systemctl reload nginx")
    assert "was not written by meshfab" in assert_done(inv("retire", *site.words))
    assert site.sh(f"cat {site.vhost}") == hand
    assert site.left() == site.vhost


def test_a_configuration_that_was_broken_before_is_not_blamed_on_us(site: Retired, inv: Inv) -> None:
    site.write("/etc/nginx/conf.d/broken.conf", "nonsense;")
    before = site.look()
    assert_refused(inv("retire", *site.words), "was broken before this run", "nonsense")
    assert site.look() == before


def test_a_service_that_has_lost_its_pair_can_be_retired(site: Retired, inv: Inv) -> None:
    site.sh(f"rm {site.cert} {site.key}")
    said = assert_done(inv("retire", *site.words, *SIGNED))
    assert site.left() == ""
    # The host only names the serial. Whoever knows it to be the service's revokes it by hand.
    assert said.count("unrevoked") == 1
    assert_done(inv("revoke", "--serial", said.partition("serial ")[2].partition(",")[0], *SIGNED))
    assert site.renews() == []
    site.sh("nginx -t 2>&1")


@pytest.mark.slow
def test_shared_units_stay_while_a_service_uses_them(site: Retired, inv: Inv) -> None:
    other = Site(site.host)
    assert_done(inv("provision", *other.words))
    before = site.look()
    assert_refused(inv("retire", *site.words, "--last"), other.fqdn, "nothing was changed")
    assert site.look() == before
    assert_done(inv("retire", *site.words))
    assert_done(inv("renew", *other.words))
    said = assert_done(inv("retire", *other.words))
    assert "--last removes them" in said
    units = "ls /etc/systemd/system/step@* /usr/local/libexec/meshfab-* 2>/dev/null"
    assert "step@.service" in site.sh(units, check=False)
    assert_done(inv("retire", *other.words, "--last"))
    assert site.sh(units, check=False) == ""
    assert site.sh("systemctl list-unit-files --no-legend 'step@*'", check=False) == ""
    assert_done(inv("provision", *site.words))


def test_a_ca_that_is_down_costs_nothing_that_is_needed_to_revoke(site: Retired, inv: Inv) -> None:
    ca.stop()
    try:
        line = assert_refused(inv("retire", *site.words), site.host, "is not revoked", layout.CA_URL)
        assert "--no-revoke" in line
        assert site.sh(f"ls {site.cert} {site.key}").split() == [site.cert, site.key]
        assert site.served() == ""
        site.sh("nginx -t 2>&1")
    finally:
        ca.start()
    assert_done(inv("retire", *site.words))
    assert site.renews() == []
    assert site.left() == ""


def test_two_operators_at_once(site: Retired, inv: Inv) -> None:
    argv = [str(Path(sys.executable).with_name("inv")), "retire", *site.words, *SIGNED]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as first:
        second = inv("retire", *site.words, *SIGNED)
        said = first.communicate(timeout=120)[0]
    assert (first.returncode, second.returncode) == (0, 0), said + second.stdout + second.stderr
    assert site.left() == ""
    assert site.renews() == []


def test_who_waits_for_the_lock_of_a_retired_service_gets_the_next_one(site: Retired, inv: Inv) -> None:
    argv = [str(Path(sys.executable).with_name("inv")), "retire", *site.words]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as first:
        done = inv("provision", *site.words, "--san", f"more-{site.fqdn}")
        assert first.wait(120) == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(inv("provision", *site.words))
    assert site.served() == site.serial() != ""
