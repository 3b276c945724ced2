"""The renewal tick when it is killed or stopped, and when several want to work on the same service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration import tick_service
from tests.integration.service_on_host import CERT_DIR
from tests.integration.tick_service import DUE, HELPER, ROOT, RUN_DIR

if TYPE_CHECKING:
    from tests.integration.tick_service import MakeService, Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service

KILLED = [
    # A command of the tick, a condition on its arguments, and what happens then.
    ("step", '[ "$1" = ca ]', "die"),
    ("step", '[ "$1" = ca ]', '$real "$@"; truncate -s 700 $staged; die'),
    ("step", '[ "$1" = ca ]', '$real "$@"; die'),
    ("cp", "true", '$real "$@"; die'),
    ("ln", "true", "die"),
    ("ln", "true", '$real "$@"; die'),
    ("mv", "true", '$real "$@"; die'),
    ("sync", '[ "$1" = $folder ]', '$real "$@"; die'),
    ("nginx", "[ -e $previous ]", "die"),
    ("systemctl", '[ "$1" = reload ]', "die"),
    ("systemctl", '[ "$1" = reload ]', '$real "$@"; die'),
]


@pytest.mark.slow
def test_a_tick_that_is_killed_at_any_step_leaves_a_valid_pair_and_the_next_one_repairs_the_rest(
    service: Service,
) -> None:
    for command, condition, action in KILLED:
        step = f"{command}: {action}"
        service.stub(
            command,
            f"folder={CERT_DIR} staged={CERT_DIR}/.{service.fqdn}.pem.tick"
            f" previous={CERT_DIR}/.{service.fqdn}.pem.prev\n"
            "die() { rm /run/kill-it; "
            f"/usr/bin/systemctl kill --signal=KILL {service.unit}; sleep 9; }}\n"
            f'[ -e /run/kill-it ] && {condition} || exec $real "$@"\n{action}',
        )
        service.force()
        service.sh("touch /run/kill-it")
        killed = service.tick()
        assert not killed.ok, step
        assert killed.lines == [], step
        assert service.sh("ls /run/kill-it", check=False) == "", step
        service.sh(
            f"openssl verify -CAfile {ROOT} -untrusted {service.cert} {service.cert} &&"
            f' [ "$(openssl x509 -in {service.cert} -noout -pubkey)" ='
            f' "$(openssl pkey -in {service.key} -pubout)" ]'
        )
        repaired = service.tick()
        assert repaired.ok, (step, repaired.lines)
        assert service.served_serial() == service.serial_on_disk(), step
        assert service.leftovers() == "", step
        service.unstub()


def test_a_certificate_that_a_killed_tick_left_is_not_restored_over_a_later_mint(service: Service) -> None:
    service.sh(f"cp -a {service.cert} {CERT_DIR}/.{service.fqdn}.pem.prev")
    service.mint()
    before = service.pair_state()
    with service.broken_config():
        assert "cannot be reloaded" in service.tick().error
    assert service.pair_state() == before
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk()
    assert service.leftovers() == ""


def test_a_tick_that_is_stopped_logs_it(make: MakeService) -> None:
    service = make().serve(DUE)
    before = service.pair_state()
    service.stub(
        "step",
        f'[ "$1" != ca ] || {{ /usr/bin/systemctl kill --signal=TERM {service.unit}; sleep 9; }}\nexec $real "$@"',
    )
    tick = service.tick()
    assert not tick.ok
    # The shell adds a line that one of its commands was terminated.
    assert len(tick.errors) == 1
    assert "stopped before it finished" in tick.errors[0]
    assert service.pair_state() == before
    assert service.leftovers() == ""


def test_two_ticks_at_once_renew_once(service: Service) -> None:
    service.force()
    output = service.sh(
        f"cd /; for i in 1 2; do {HELPER} {service.name} 2>/run/output.$i || touch /run/failed & done;"
        " wait; cat /run/output.*; rm /run/output.*; ! rm /run/failed 2>/dev/null"
    )
    assert output.count("renewed until") == 1
    assert service.served_serial() == service.serial_on_disk()


def test_a_tick_waits_until_an_operator_releases_the_lock(service: Service) -> None:
    old = service.serial_on_disk()
    service.force()
    with service.held_lock(f"{RUN_DIR}/{service.name}.lock"):
        service.sh(f"systemctl start --no-block {service.unit}")
        service.wait_for("pgrep -f '^flock -w 120 9'")
        assert service.serial_on_disk() == old
    tick = service.tick()  # of the run that has waited, unless that is already over
    assert tick.ok
    assert len(tick.lines) == 1
    assert "renewed until" in tick.lines[0]


def test_a_tick_that_waits_too_long_names_the_holder_of_the_lock(service: Service) -> None:
    with service.held_lock(f"{RUN_DIR}/{service.name}.lock"):
        service.stub("flock", 'shift 2; exec $real -w 0.5 "$@"')
        assert f"{service.name}.lock is held by provision by ops@laptop" in service.tick().error


def test_a_tick_does_not_blame_a_configuration_that_an_operator_is_working_on(make: MakeService) -> None:
    service = make().serve(DUE)
    before = service.pair_state()
    with service.held_lock(f"{RUN_DIR}/.nginx.lock"), service.broken_config():
        service.stub("flock", 'shift 2; exec $real -w 0.5 "$@"')
        error = service.tick().error
    assert f"not renewed: {RUN_DIR}/.nginx.lock is held by provision by ops@laptop" in error
    assert "broken" not in error
    assert service.pair_state() == before
