"""`inv renew` and `provision --rehearse`: the installed unit itself, run on purpose, and what it says when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

HOST, NAME = "h1", "renewed"
SERVICE = ("--name", NAME, "--host", HOST)
CERT = f"/etc/nginx/tls/cert/{NAME}.internal.pem"


@pytest.fixture(scope="module", autouse=True)
def provisioned(mesh: Mesh, inv: Inv) -> Iterator[None]:
    mesh.reset(HOST)
    mesh.dns.point(NAME, HOST)
    done = inv("provision", *SERVICE)
    assert done.returncode == 0, done.stderr
    yield
    mesh.reset(HOST)


def serial(mesh: Mesh) -> str:
    return str(mesh.hosts.run(HOST, f"openssl x509 -in {CERT} -noout -serial").stdout)


def served_serial(mesh: Mesh) -> str:
    ask = f"openssl s_client -connect 127.0.0.1:443 -servername {NAME}.internal </dev/null 2>/dev/null"
    return str(mesh.hosts.run(HOST, f"{ask} | openssl x509 -noout -serial").stdout)


def test_a_forced_renewal_goes_through_the_unit_and_is_served(mesh: Mesh, inv: Inv) -> None:
    before = serial(mesh)
    done = inv("renew", *SERVICE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "renewed: serial" in done.stdout
    assert serial(mesh) == served_serial(mesh) != before
    journal = mesh.hosts.run(HOST, f"journalctl -u step@{NAME}.service -n 5 -o cat").stdout
    assert "renewed until" in journal


def test_a_rehearsal_follows_the_provisioning(mesh: Mesh, inv: Inv) -> None:
    before = serial(mesh)
    done = inv("provision", *SERVICE, "--rehearse")
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stdout
    assert "renewed: serial" in done.stdout
    assert served_serial(mesh) != before


def test_a_ca_that_is_down_is_one_line_and_keeps_the_old_pair(mesh: Mesh, inv: Inv) -> None:
    before = serial(mesh)
    mesh.ca.stop()
    try:
        done = inv("renew", *SERVICE)
    finally:
        mesh.ca.start()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be reached" in done.stderr
    assert serial(mesh) == served_serial(mesh) == before


def test_a_provisioner_that_was_removed_is_told_apart_from_a_ca_that_is_down(mesh: Mesh, inv: Inv) -> None:
    taken = mesh.ca.remove_provisioner()
    try:
        done = inv("renew", *SERVICE)
    finally:
        mesh.ca.add_provisioner(taken)
    assert done.returncode == 1
    assert "provisioner not found" in done.stderr
    assert "inv provision" in done.stderr


def test_a_service_without_a_renewal_is_refused_with_the_command_to_run(mesh: Mesh, inv: Inv) -> None:
    mesh.hosts.run(HOST, f"systemctl disable --now step@{NAME}.timer")
    try:
        done = inv("renew", *SERVICE)
    finally:
        assert inv("provision", *SERVICE).returncode == 0
    assert done.returncode == 1
    assert f"inv provision --name {NAME} --host {HOST}" in done.stderr


def test_a_proxy_before_the_ca_is_a_setting(mesh: Mesh, inv: Inv) -> None:
    """The unit then renews by a token, which the CA takes where no client certificate gets through."""
    by_token = {"INVOKE_MESHFAB_CA_MTLS": "0"}
    done = inv("provision", *SERVICE, "--rehearse", env=by_token)
    assert done.returncode == 0, done.stderr
    assert f"{NAME}.env differs" in done.stdout
    assert "MESHFAB_MTLS=false" in mesh.hosts.run(HOST, f"cat /etc/meshfab/{NAME}.env").stdout
    assert inv("provision", *SERVICE).returncode == 0


def test_units_of_an_older_version_are_upgraded_and_the_timer_keeps_its_state(mesh: Mesh, inv: Inv) -> None:
    shown = f"systemctl show -P LastTriggerUSec -P ActiveEnterTimestampMonotonic step@{NAME}.timer"
    mesh.hosts.run(HOST, "echo '# an older version' >> /etc/systemd/system/step@.service; systemctl daemon-reload")
    before = mesh.hosts.run(HOST, shown).stdout
    done = inv("provision", *SERVICE)
    assert "step@.service differs" in done.stdout
    assert mesh.hosts.run(HOST, shown).stdout == before
    assert "# an older version" not in mesh.hosts.run(HOST, f"systemctl cat step@{NAME}.service").stdout
    reloads = "journalctl _PID=1 -o cat | grep -c 'Reloading.$'"
    count = mesh.hosts.run(HOST, reloads, check=False).stdout
    assert "nothing changed" in inv("provision", *SERVICE).stdout
    assert mesh.hosts.run(HOST, reloads, check=False).stdout == count


def test_certificates_elsewhere_are_opened_to_the_unit(mesh: Mesh, inv: Inv) -> None:
    """step@.service closes /etc but for /etc/nginx: without its drop-in the renewal could not write."""
    elsewhere = {"INVOKE_MESHFAB_CERT_DIR": "/etc/mesh-tls/cert", "INVOKE_MESHFAB_KEY_DIR": "/etc/mesh-tls/key"}
    mesh.dns.point("elsewhere", HOST)
    words = ("--name", "elsewhere", "--host", HOST)
    done = inv("provision", *words, "--rehearse", env=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "renewed: serial" in done.stdout
