"""doctor on real hosts: each precondition taken away, told with its remedy, and back again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab import layout
from meshfab import Settings
from meshfab.fleet import operator_check
from meshfab.fleet.doctor import examine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshfab.checks.finding import Finding
    from tests.integration.conftest import Inv, Mesh

HOST = "h3"
ROOT = str(layout.ROOT_ON_HOST)


@pytest.fixture(scope="module", autouse=True)
def as_found(mesh: Mesh) -> Iterator[None]:
    mesh.reset(HOST)
    yield
    mesh.reset(HOST)
    mesh.dns.unpoint("tea")


def faults(host: str = HOST, **settings: object) -> dict[str, Finding]:
    """What is not as it should be, by its code."""
    found = examine(host, Settings(**settings))  # type: ignore[arg-type]
    return {one.code: one for one in found if one.status != "ok"}


def test_a_host_that_is_ready_has_a_line_for_each_precondition(inv: Inv, mesh: Mesh) -> None:
    done = inv("doctor", "--host", HOST)
    assert (done.returncode, done.stderr) == (0, "")
    codes = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  ok")}
    assert codes == {
        "password", "host-key", "login", "sudo", "step", "openssl", "setfacl", "getfacl", "flock", "systemd-run",
        "programs", "systemd", "nginx", "nginx-configuration", "nginx-running", "nginx-user", "root", "dns", "ca",
        "ca-root", "ca-name", "clock", "provisioner", "lifetime", "disk",
        "signing", "provisioner-key",
    }  # fmt: skip
    version = mesh.hosts.run(HOST, "nginx -v 2>&1").stdout.split("/")[1].split()[0]
    assert version in done.stdout and "www-data" in done.stdout


def test_programs_that_are_missing_are_named_with_their_packages(mesh: Mesh, inv: Inv) -> None:
    away = "for one in /usr/bin/step /usr/bin/setfacl; do mv $one $one.away; done"
    back = "for one in /usr/bin/step /usr/bin/setfacl; do mv $one.away $one; done"
    mesh.hosts.run(HOST, away)
    try:
        found = faults()
        refused = inv("provision", "--name", "tea", "--host", HOST)
    finally:
        mesh.hosts.run(HOST, back)
    assert set(found) == {"step", "setfacl"}
    assert (found["step"].status, found["setfacl"].remedy) == ("critical", "install the package acl")
    # The same rule, and the same words, stop a provisioning before it changes anything.
    assert found["step"].message in refused.stderr and found["step"].remedy in refused.stderr
    assert faults() == {}


def test_nginx_that_is_stopped_broken_or_nobodys(mesh: Mesh) -> None:
    mesh.hosts.run(HOST, "systemctl stop nginx; echo 'nonsense on;' > /etc/nginx/conf.d/broken.conf")
    try:
        found = faults(nginx_user="nobody-here")
    finally:
        mesh.hosts.run(HOST, "rm /etc/nginx/conf.d/broken.conf; systemctl start nginx")
    assert {"nginx-configuration", "nginx-running", "nginx-user"} <= set(found)
    assert "nonsense" in found["nginx-configuration"].message
    assert "systemctl enable --now nginx" in found["nginx-running"].remedy
    assert faults() == {}


def test_a_root_that_is_missing_or_another_cas(mesh: Mesh) -> None:
    mesh.hosts.run(HOST, f"cp {ROOT} /root/kept; openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null"
                         f" -subj /CN=other -out {ROOT} 2>/dev/null")  # fmt: skip
    try:
        other = faults()
        mesh.hosts.run(HOST, f"rm {ROOT}")
        missing = faults()
    finally:
        mesh.hosts.run(HOST, f"mv /root/kept {ROOT}")
    assert set(other) == {"ca-root"}
    assert len([word for word in other["ca-root"].message.split() if len(word.strip("()")) == 64]) == 2, "both SHA-256"
    assert {"root", "ca-root"} <= set(missing)
    assert faults() == {}


def fingerprint(mesh: Mesh) -> str:
    shown: str = mesh.hosts.run(HOST, f"openssl x509 -noout -fingerprint -sha256 -in {ROOT}").stdout
    return shown.strip().partition("=")[2]


def test_a_root_that_is_not_exactly_the_pinned_one(mesh: Mesh, inv: Inv) -> None:
    pin = fingerprint(mesh)
    shown = next(line for line in inv("doctor", "--host", HOST).stdout.splitlines() if " ca-root " in line)
    assert f"SHA-256 {pin.replace(':', '').lower()} (meshfab.root_fingerprint would pin it)" in shown
    assert faults(root_fingerprint=pin) == {}
    other = faults(root_fingerprint="ab" * 32)
    assert set(other) == {"root"} and pin.replace(":", "").lower() in other["root"].message
    # One more root is one too many, though the CA's is among them.
    mesh.hosts.run(HOST, f"cp {ROOT} /root/kept; openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null"
                         f" -subj /CN=other 2>/dev/null >> {ROOT}")  # fmt: skip
    try:
        assert set(faults(root_fingerprint=pin)) == {"root"}
        assert faults() == {}
    finally:
        mesh.hosts.run(HOST, f"mv /root/kept {ROOT}")


def test_the_root_that_step_recorded_on_the_operators_machine_is_the_pinned_one(
    mesh: Mesh, inv: Inv, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "defaults.json").write_text(
        json.dumps({"ca-url": layout.CA_URL, "fingerprint": fingerprint(mesh).replace(":", "")})
    )
    shown = inv("doctor", "--host", HOST, env={"STEPPATH": str(tmp_path)})
    assert shown.returncode == 0, shown.stdout
    assert "(pinned)" in shown.stdout


@pytest.mark.parametrize("has_step", [True, False])
def test_a_server_of_the_mesh_with_another_name_is_not_the_ca(mesh: Mesh, has_step: bool) -> None:
    # A certificate of the same root: what any host of the mesh could show, if it got the CA's address.
    mesh.ca.set_names(f"elsewhere.{layout.DOMAIN}")
    away = "mv /usr/bin/step /usr/bin/step.away" if not has_step else "true"
    back = "mv /usr/bin/step.away /usr/bin/step" if not has_step else "true"
    mesh.hosts.run(HOST, away)
    try:
        found = faults()
    finally:
        mesh.hosts.run(HOST, back)
        mesh.ca.set_names(f"ca.{layout.DOMAIN}", layout.CA_ADDRESS)
    assert found["ca-name"].message.endswith(
        f"has a certificate for elsewhere.{layout.DOMAIN}, not for ca.{layout.DOMAIN}"
    )
    assert set(found) == {"ca-name", "ca" if has_step else "step"}
    assert faults() == {}
    assert faults(ca_url=f"https://{layout.CA_ADDRESS}") == {}


@pytest.mark.slow
def test_a_ca_that_is_down_or_does_not_answer(mesh: Mesh) -> None:
    mesh.ca.stop()
    try:
        down = faults()
    finally:
        mesh.ca.start()
    mesh.ca.pause()
    try:
        silent = faults()
    finally:
        mesh.ca.resume()
    assert (set(down), set(silent)) == ({"ca"}, {"ca"})
    assert "refused" in down["ca"].message
    assert faults() == {}


def test_a_provisioner_that_is_gone_and_lives_that_are_too_short(mesh: Mesh) -> None:
    mesh.ca.set_claims(maxTLSCertDuration="1h", defaultTLSCertDuration="30m")
    short = faults()
    mesh.ca.set_claims(**{key: mesh.ca.CLAIMS[key] for key in ("maxTLSCertDuration", "defaultTLSCertDuration")})
    taken = mesh.ca.remove_provisioner()
    try:
        gone = faults()
    finally:
        mesh.ca.add_provisioner(taken)
    assert {code: one.status for code, one in short.items()} == {"lifetime": "warning"}
    assert "30m" in short["lifetime"].message and "at most 1h" in short["lifetime"].message
    assert {code: one.status for code, one in gone.items()} == {"provisioner": "critical"}
    assert "'lair'" in gone["provisioner"].message


def test_a_clock_a_resolver_and_a_full_disk(mesh: Mesh) -> None:
    script = '#!/bin/sh\n[ "$*" = +%s ] && exec echo $(($(/bin/date +%s) - 600))\nexec /bin/date "$@"\n'
    mesh.hosts.run(HOST, "install -m 0755 /dev/stdin /usr/local/sbin/date", input=script)
    mesh.hosts.run(HOST, "mkdir -p /etc/nginx/tls/cert; cp /etc/resolv.conf /root/kept; echo > /etc/resolv.conf")
    mesh.faults.fill(HOST, "/etc/nginx/tls/cert")
    try:
        blind = faults()
        mesh.hosts.run(HOST, "cp /root/kept /etc/resolv.conf")
        found = faults()
    finally:
        mesh.faults.free(HOST, "/etc/nginx/tls/cert")
        mesh.hosts.run(HOST, "cp /root/kept /etc/resolv.conf; rm -f /root/kept /usr/local/sbin/date")
    assert {"dns", "ca", "disk"} <= set(blind)
    assert "ca.internal does not resolve on the host" in blind["dns"].message
    assert {code: one.status for code, one in found.items()} == {"clock": "warning", "disk": "critical"}
    assert "behind" in found["clock"].message and "/etc/nginx/tls/cert is full" in found["disk"].message
    assert faults() == {}


def test_a_declared_service_must_lead_to_the_host(mesh: Mesh) -> None:
    declared = {"tea": {"host": HOST}}
    mesh.dns.unpoint("tea")
    found = faults(services=declared)
    assert found["dns"].remedy == f"point tea.internal at {layout.address(HOST)} in the mesh's DNS"
    mesh.dns.point("tea", HOST)
    assert faults(services=declared) == {}


def test_the_way_in_is_told_as_far_as_it_leads(mesh: Mesh, inv: Inv, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host {HOST}\n HostName {layout.address(HOST)}\n User ops\n UserKnownHostsFile {tmp_path}/none\n"
        f" IdentityFile {mesh.lab.home}/.ssh/id_ed25519\n IdentitiesOnly yes\n"
    )
    stranger = faults(ssh_config=str(config))
    assert list(stranger) == ["host-key"] and "ssh-keyscan" in stranger["host-key"].remedy
    mesh.hosts.run(HOST, "mv /etc/sudoers.d/ops /root/; echo 'ops ALL=(ALL) ALL' > /etc/sudoers.d/ops")
    try:
        asks = faults()
    finally:
        mesh.hosts.run(HOST, "mv /root/ops /etc/sudoers.d/ops")
    assert list(asks) == ["sudo"] and "passwordless sudo" in asks["sudo"].remedy
    lost = inv("doctor", "--host", "nowhere.internal", "--host", "h1")
    assert lost.returncode == 3, "nobody knows what is with it"
    assert "unknown  login" in lost.stdout and "ok       disk" in lost.stdout


def test_the_operators_own_password_file(tmp_path: Path, inv: Inv) -> None:
    file = tmp_path / "password"
    settings = Settings(provisioner_password=str(file))
    assert (operator_check.examine(settings)[0].status, operator_check.examine(settings)[0].code) == (
        "critical",
        "password",
    )
    file.write_text("secret\n")
    file.chmod(0o644)
    assert operator_check.examine(settings)[0].remedy == f"chmod 600 {file}"
    file.chmod(0o600)
    assert operator_check.examine(settings)[0].status == "ok"
    no_host = inv("doctor")
    assert (no_host.returncode, no_host.stderr) == (3, "there is no host to ask -> give --host, or set meshfab.hosts\n")
