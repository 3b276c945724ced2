"""Signing on the operator's side: the same promises, and the host sees neither the password nor a token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.services import ca
from meshfab import Settings, connect, provision
from meshfab.ca.client import CaAnswer, CaClient
from meshfab.errors import MintError
from tests.integration.host_trace import traced
from tests.integration.on_host import Site, assert_done, assert_refused
from tests.support.certificates import pem_of
from tests.support.fake_ca import issue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

SIGNED = ("--signing", "operator")


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


@pytest.fixture(scope="module", autouse=True)
def clean_afterwards(mesh: Mesh) -> Iterator[None]:
    """One test ends with a vhost whose certificate is gone; nginx on that host cannot be reloaded."""
    yield
    mesh.reset("h2", "h3")


def lead_to_the_ca(site: Site) -> None:
    """Take the CA's name out of the host's own list, which a reset leaves as it is."""
    site.sh("grep -v 'ca.internal' /etc/hosts >/root/hosts; cat /root/hosts >/etc/hosts")


@pytest.fixture
def stopped_ca() -> Iterator[None]:
    ca.stop()
    yield
    ca.start()


def test_a_first_and_a_second_run(site: Site, inv: Inv) -> None:
    said = assert_done(inv("provision", *site.words, *SIGNED))
    assert [line.split()[0] for line in said.splitlines()] == ["mint", "units", "timer", "vhost", "served", site.host]
    assert site.served() == site.serial() != ""
    assert site.sh(f"stat -c '%U:%G %a' {site.cert} {site.key}").split("\n")[:2] == ["root:root 644", "root:root 640"]
    assert site.leftovers() == ""
    before = site.look()
    assert "nothing changed" in assert_done(inv("provision", *site.words, *SIGNED))
    assert site.look() == before
    # The renewal is the same as ever.
    assert_done(inv("renew", *site.words))


def test_the_host_sees_no_secret(site: Site, inv: Inv, mesh: Mesh, tmp_path: Path) -> None:
    secret = mesh.lab.password.read_text().strip()
    with traced(site.host, tmp_path / "operator"):
        assert_done(inv("provision", *site.words, *SIGNED))
    seen = (tmp_path / "operator").read_text(errors="replace")
    assert re.search(r'execve\("/usr/bin/openssl", \["openssl", "req"', seen)
    assert "BEGIN CERTIFICATE REQUEST" in seen
    assert secret not in seen
    assert '"eyJ' not in seen, "a token begins so"
    # The same watch sees the password where the host mints.
    site.sh(f"rm {site.cert} {site.key}")
    with traced(site.host, tmp_path / "host"):
        assert_done(inv("provision", *site.words))
    seen = (tmp_path / "host").read_text(errors="replace")
    assert secret in seen
    # Even there it is in no argument and in no environment.
    assert secret not in "".join(line for line in seen.splitlines() if " execve" in line)


def test_a_host_without_step_and_without_a_way_to_the_ca(site: Site, inv: Inv) -> None:
    step = site.sh("command -v step").strip()
    site.sh(f"mv {step} {step}.aside; echo '192.0.2.1 ca.internal' >>/etc/hosts")
    try:
        said = assert_done(inv("mint", *site.words, *SIGNED, "--san", f"more-{site.fqdn}"))
        # The renewal needs it.
        assert_refused(inv("provision", *site.words, *SIGNED), site.host, "step is not installed")
    finally:
        site.sh(f"mv {step}.aside {step}")
        lead_to_the_ca(site)
    assert said.split()[0] == "mint"
    assert f"DNS:more-{site.fqdn}" in site.sh(f"openssl x509 -noout -ext subjectAltName -in {site.cert}")


def test_a_broken_pair_is_healed(site: Site, inv: Inv) -> None:
    assert_done(inv("provision", *site.words, *SIGNED))
    old = site.serial()
    site.sh(f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {site.key} 2>/dev/null")
    assert "mint" in assert_done(inv("provision", *site.words, *SIGNED))
    assert site.served() == site.serial() != old


def test_a_request_for_more_names_gets_no_certificate(site: Site, inv: Inv) -> None:
    site.stub("openssl", 'case $1 in req) sed -i "s/DNS:/DNS:bank.internal,DNS:/" "${12}" ;; esac\nexec $real "$@"')
    before = site.look()
    line = assert_refused(inv("provision", *site.words, *SIGNED), site.host, "request is refused")
    assert "something else than the service's names" in line
    site.sh("rm /usr/local/sbin/openssl")
    assert {path: row for path, row in site.look().items() if "openssl" not in path} == {
        path: row for path, row in before.items() if "openssl" not in path
    }
    assert site.leftovers() == ""


def test_a_wrong_password_and_a_wrong_root_are_refused_before_the_host_is_changed(
    site: Site, inv: Inv, tmp_path: Path
) -> None:
    password, root = tmp_path / "password", tmp_path / "root.pem"
    password.touch(0o600)
    password.write_text("not-the-password\n")
    root.write_text(pem_of(issue("another root", None).certificate))
    before = site.look()
    env = {"INVOKE_MESHFAB_PROVISIONER_PASSWORD": str(password)}
    line = assert_refused(inv("provision", *site.words, *SIGNED, env=env), "does not open the provisioner's key")
    assert "not-the-password" not in line
    env = {"INVOKE_MESHFAB_OPERATOR_ROOT": str(root)}
    assert_refused(inv("provision", *site.words, *SIGNED, env=env), "is not accepted")
    assert site.look() == before
    assert site.leftovers() == ""


def test_a_ca_that_is_down_leaves_everything_as_it_was(site: Site, inv: Inv, stopped_ca: None) -> None:  # noqa: ARG001
    before = site.look()
    line = assert_refused(inv("provision", *site.words, *SIGNED), site.host, layout.CA_URL)
    assert "not reached from this machine" in line
    assert "nor through the host" in line
    assert site.look() == before
    assert site.leftovers() == ""


def test_an_operator_who_does_not_reach_the_ca_goes_through_the_host(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_client: CaClient) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(CaClient, "_connect", unreachable)
    with connect(site.host) as c:
        outcome = provision(c, site.name, settings=Settings(signing="operator"))
    assert "mint" in {step.verb for step in outcome.changed}
    assert site.served() == site.serial() != ""
    # The host's word is not taken for the CA's: TLS is pinned to the operator's root.
    site.sh(f"rm {site.cert}; echo '{layout.address(site.host)} ca.internal' >>/etc/hosts")
    try:
        with connect(site.host) as c, pytest.raises(MintError, match="is not accepted"):
            provision(c, site.name, settings=Settings(signing="operator"))
    finally:
        lead_to_the_ca(site)


def test_a_ca_that_hides_its_provisioners_is_served_by_the_local_key(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    [provisioner] = [each for each in ca.provisioners() if each["name"] == layout.PROVISIONER]
    file.write_text(provisioner["encryptedKey"])
    get = CaClient.get

    def hidden(client: CaClient, path: str) -> CaAnswer:
        return CaAnswer(403, {"message": "forbidden"}) if path.startswith("/provisioners") else get(client, path)

    monkeypatch.setattr(CaClient, "get", hidden)
    with connect(site.host) as c:
        with pytest.raises(MintError, match="does not list its provisioners"):
            provision(c, site.name, settings=Settings(signing="operator"))
        provision(c, site.name, settings=Settings(signing="operator", provisioner_key=str(file)))
    assert site.served() == site.serial() != ""


def test_all_services_of_a_host_take_two_round_trips(inv: Inv, tmp_path: Path, mesh: Mesh) -> None:
    mesh.reset("h3")
    sites = [Site("h3") for _ in range(4)]
    services = "".join(f"    {site.name}: {{host: h3}}\n" for site in sites)
    settings = tmp_path / "mesh.yaml"
    settings.write_text(f"meshfab:\n  signing: operator\n  services:\n{services}")
    before = sites[0].commands()
    said = assert_done(inv("-f", str(settings), "apply"))
    assert all(site.served() == site.serial() != "" for site in sites), said
    assert sites[0].commands() == before + 1
    assert "0 changed" in assert_done(inv("-f", str(settings), "apply"))
