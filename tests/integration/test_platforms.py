"""The core of the promises on every platform of the lab: one host of each release, and of each variant of it.

The rest of the suite takes whatever its hosts run: `./dev test --all` runs it once on each release.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.errors import LabError
from lab.services import hosts
from meshfab.ssh import script
from tests.integration.on_host import Site, assert_done, assert_refused, curl

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.integration.conftest import Inv, Mesh

# Of the login, on a host whose sudo asks for it: lab/recipes/variants/sudo-password.sh.
SUDO_PASSWORD = {"INVOKE_SUDO_PASSWORD": "geheim"}


def one_host_of_each() -> dict[str, str]:
    """The first host of each platform, by the name of the platform; none outside a lab."""
    found: dict[str, str] = {}
    try:
        for host, platform in hosts.platforms_by_host().items():
            found.setdefault(str(platform), host)
    except (OSError, LabError):
        return {}
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = one_host_of_each() or {"bookworm": "h1"}
    # The last one differs most from the hosts that the other tests have.
    *others, last = found.values()
    parameters = [*(pytest.param(host, marks=pytest.mark.slow) for host in others), last]
    metafunc.parametrize("host", parameters, ids=found, scope="module")


@pytest.fixture(scope="module")
def run(inv: Inv) -> Inv:
    """`inv` with a password for the hosts whose sudo asks for one."""

    def call(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
        return inv(*args, **{"env": {**os.environ, **SUDO_PASSWORD}, **options})  # type: ignore[arg-type]

    return call


@pytest.fixture(scope="module")
def first(host: str, mesh: Mesh, run: Inv) -> tuple[Site, str]:
    """A service that is provisioned on the host, and what its first run said."""
    mesh.reset(host)
    site = Site(host)
    return site, assert_done(run("provision", *site.words))


@pytest.fixture
def site(first: tuple[Site, str]) -> Site:
    return first[0]


def test_a_first_run_does_everything_and_the_second_one_nothing(first: tuple[Site, str], run: Inv) -> None:
    site, said = first
    assert [line.split()[0] for line in said.splitlines()[:-1]] == ["mint", "units", "timer", "vhost", "served"]
    assert site.served() == site.serial() != ""
    assert site.fqdn in curl(site)
    before = site.look()
    assert "nothing to do, nothing changed" in assert_done(run("provision", *site.words))
    assert site.look() == before
    assert site.leftovers() == ""


def test_a_renewal_works_right_after_the_first_run_and_is_served(site: Site, run: Inv) -> None:
    before = site.serial()
    assert "renewed: serial" in assert_done(run("renew", *site.words))
    renewed = site.serial()
    assert site.served() == renewed != before
    assert "renewed: serial" in assert_done(run("provision", *site.words, "--rehearse"))
    assert site.served() == site.serial() != renewed


def test_a_tick_of_the_timer_finds_nothing_to_do(site: Site) -> None:
    before = site.serial()
    site.sh(f"systemctl start step@{site.name}.service")
    shown = site.sh(f"systemctl show -P Result step@{site.name}.service; systemctl is-active {site.timer}")
    assert shown.split() == ["success", "active"]
    assert site.served() == site.serial() == before


def test_check_certs_finds_nothing(site: Site, run: Inv) -> None:
    (report,) = json.loads(assert_done(run("check-certs", "--host", site.host, "--format", "json")))["hosts"]
    found = {pair["name"]: (pair["status"], pair["findings"]) for pair in report["certificates"]}
    assert found[site.name] == ("ok", [])


def test_a_name_that_leads_to_another_host_is_found(mesh: Mesh, site: Site, run: Inv) -> None:
    mesh.dns.point_at(site.name, layout.OPERATOR_ADDRESS)
    try:
        done = run("check-certs", "--host", site.host)
    finally:
        mesh.dns.point(site.name, site.host)
    address = layout.OPERATOR_ADDRESS
    both = f"dns-mismatch: {site.fqdn} resolves to {address} here and {address} on the host, which is no address"
    assert f"warning  {site.host} {site.name}: {both}" in done.stdout
    assert done.returncode == 1


def remove_the_pair(site: Site) -> None:
    site.sh(f"rm {site.cert} {site.key}")


def open_the_key(site: Site) -> None:
    site.sh(f"chmod 0644 {site.key}")


def stop_the_timer(site: Site) -> None:
    site.sh(f"systemctl -q disable --now {site.timer}")


def edit_the_unit(site: Site) -> None:
    site.sh("echo '# mine' >>/etc/systemd/system/step@.service; systemctl daemon-reload")


def lose_a_reload(site: Site) -> None:
    site.mint()


@pytest.mark.parametrize("damage", [remove_the_pair, open_the_key, stop_the_timer, edit_the_unit, lose_a_reload])
def test_a_run_heals_what_is_damaged(site: Site, run: Inv, damage: Callable[[Site], None]) -> None:
    damage(site)
    assert "nothing changed" not in assert_done(run("provision", *site.words))
    assert site.served() == site.serial() != ""
    assert site.sh(f"stat -c '%U:%G %a' {site.key}") == "root:root 640"
    assert site.sh(f"systemctl is-active {site.timer}") == "active"
    assert "nothing changed" in assert_done(run("provision", *site.words))


def test_a_mint_that_fails_leaves_neither_its_password_nor_half_a_pair(mesh: Mesh, site: Site, run: Inv) -> None:
    before = site.look()
    mesh.ca.stop()
    try:
        assert_refused(run("provision", *site.words, "--san", "more.internal"), site.host)
    finally:
        mesh.ca.start()
    assert site.leftovers() == ""
    assert site.look() == before
    assert site.served() == site.serial()


def enable_another_unit(site: Site) -> None:
    """As snapd does, and our own first run: systemd 255 and newer then wants a reload for every unit of the host."""
    site.write(
        "/etc/systemd/system/other.service", "[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"
    )
    site.sh("systemctl -q --no-reload enable other.service")


def test_a_unit_that_somebody_enabled_without_a_reload_is_no_drift_of_ours(site: Site, run: Inv) -> None:
    site.sh("systemctl daemon-reload")
    enable_another_unit(site)
    assert "nothing to do, nothing changed" in assert_done(run("provision", *site.words))
    assert "renewed: serial" in assert_done(run("renew", *site.words))


def test_a_run_that_another_one_has_overtaken_does_not_touch_the_units(site: Site, run: Inv) -> None:
    """Two first runs at once: the later one is told to install what lies there by then."""
    unit = "/etc/systemd/system/step@.timer"
    text = hosts.run(site.host, f"cat {unit}").stdout
    hosts.run(site.host, ["sh", "-c", script.text("install_units"), "sh", "", "", "", unit, "0644", text])
    enable_another_unit(site)
    assert "nothing to do, nothing changed" in assert_done(run("provision", *site.words))


def test_systemd_does_not_want_a_reload_after_a_run(site: Site, run: Inv) -> None:
    """Each `systemctl` of an operator would warn of it, whatever unit it is about."""
    site.sh(f"systemctl daemon-reload; systemctl -q disable --now {site.timer}")
    assert "timer" in assert_done(run("provision", *site.words))
    assert site.sh("systemctl show -P NeedDaemonReload init.scope nginx.service").split() == ["no", "no"]


@pytest.mark.parametrize("name", ["step@.timer", "step@.service"])
def test_an_older_unit_in_systemds_memory_is_found_also_then(site: Site, run: Inv, name: str) -> None:
    enable_another_unit(site)
    # cat keeps the inode, mv the time of the content: both are noticed.
    back = (
        "cat /root/unit >$unit" if name == "step@.timer" else "cp -p /root/unit $unit.x; mv $unit.x $unit; touch $unit"
    )
    site.sh(
        f"unit=/etc/systemd/system/{name}; cp -p $unit /root/unit; sed -i 's/^Description=.*/Description=old/' $unit;"
        f" systemctl daemon-reload; sleep 0.01; {back}; systemctl -q --no-reload disable other.service"
    )
    unit = name.replace("@", f"@{site.name}")
    assert site.sh(f"systemctl show -P Description {unit}") == "old"
    assert "systemd has not read" in assert_done(run("provision", *site.words))
    assert site.sh(f"systemctl show -P Description {unit}") != "old"
    assert "nothing changed" in assert_done(run("provision", *site.words))


def test_sudo_that_asks_for_a_password_is_refused_in_one_line_or_given_it(site: Site, inv: Inv) -> None:
    rule = site.sh("cat /etc/sudoers.d/ops")
    site.sh("printf 'ops ALL=(ALL) ALL\\n' >/etc/sudoers.d/ops; echo ops:geheim | chpasswd")
    try:
        assert_refused(inv("provision", *site.words), site.host, "sudo asks for a password")
        wrong = inv("provision", *site.words, env={"INVOKE_SUDO_PASSWORD": "falsch"})
        assert_refused(wrong, site.host, "sudo does not accept the password")
        assert "nothing changed" in assert_done(inv("provision", *site.words, env=SUDO_PASSWORD))
    finally:
        site.sh("cat >/etc/sudoers.d/ops", stdin=f"{rule}\n")


def test_sudo_that_wants_a_terminal_is_told_of_unless_it_cannot_want_one(site: Site, run: Inv) -> None:
    site.sh("printf 'Defaults requiretty\\n' >/etc/sudoers.d/tty; chmod 0440 /etc/sudoers.d/tty")
    try:
        done = run("provision", *site.words)
    finally:
        site.sh("rm /etc/sudoers.d/tty")
    if "sudo-rs" in site.sh("sudo --version 2>&1"):
        assert "nothing changed" in assert_done(done)
    else:
        assert_refused(done, site.host, "requiretty", "Defaults:LOGIN !requiretty")
