"""The units of the renewal tick: their hardening, their schedule, and the alert of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.services import hosts
from tests.integration import tick_service

if TYPE_CHECKING:
    from tests.integration.tick_service import Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service


def test_systemd_finds_no_fault_in_the_units(installed_units: None) -> None:  # noqa: ARG001
    verified = hosts.run("h2", "systemd-analyze verify step@web-1.service step@web-1.timer")
    assert verified.stdout + verified.stderr == ""


def test_the_unit_states_its_exposure_as_systemd_rates_it(installed_units: None) -> None:  # noqa: ARG001
    rating = hosts.run("h2", "systemd-analyze security step@web-1.service | tail -n 1").stdout
    stated = hosts.run("h2", "grep 'systemd-analyze security' /etc/systemd/system/step@.service").stdout
    assert rating.split(": ")[1].split()[0] in stated


def test_the_timer_runs_every_quarter_of_an_hour_and_the_unit_remembers_its_last_success(service: Service) -> None:
    timer = f"step@{service.name}.timer"
    service.sh(f"systemctl --no-reload enable --now {timer}")
    try:
        now = int(service.sh("date +%s"))
        following = int(service.sh(f'date +%s -d "$(systemctl show -P NextElapseUSecRealtime {timer})"'))
        assert 0 <= following - now <= 20 * 60
        assert service.tick().ok
        result, ended = service.sh(f"systemctl show -P Result -P ExecMainExitTimestamp {service.unit}").splitlines()
        assert (result, bool(ended)) == ("success", True)
    finally:
        service.sh(f"systemctl disable --now {timer}")


def test_a_failure_can_alert_the_operator(service: Service) -> None:
    drop_in = "/etc/systemd/system/step@.service.d"
    alert = "/etc/systemd/system/mesh-alert@.service"
    service.write(f"{drop_in}/alert.conf", "[Unit]\nOnFailure=mesh-alert@%n.service\n")
    service.write(alert, "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >>/run/alerted'\n")
    service.sh("systemctl daemon-reload")
    try:
        service.sh(f": >{service.cert}")
        assert not service.tick().ok
        service.wait_for("[ -s /run/alerted ]")
        assert service.sh("cat /run/alerted").strip() == service.unit
    finally:
        service.sh(f"rm -rf {drop_in} {alert} /run/alerted; systemctl daemon-reload")
