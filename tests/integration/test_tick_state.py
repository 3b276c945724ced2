"""What every tick says to everybody on its host: a state file, and metrics for node_exporter."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from lab.faults import faults
from lab.machine.process import wait_until
from meshfab.host import tick_state
from tests.integration import tick_service
from tests.integration.tick_service import DUE, RUN_DIR
from tests.support import prometheus_tools

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.tick_service import MakeService, Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service
METRICS = "/var/lib/prometheus/node-exporter"


def state_of(service: Service) -> dict[str, Any]:
    """The state as somebody without any rights reads it, checked against the schema."""
    text = service.sh(f"runuser -u nobody -- cat {tick_state.FOLDER}/{service.name}.json")
    state: dict[str, Any] = json.loads(text)
    jsonschema.validate(state, json.loads(tick_state.SCHEMA.read_text()))
    assert tick_state.parse(text)
    assert service.sh(f"ls -A {tick_state.FOLDER} | grep -c '^[.]' || :").strip() == "0", "nothing is half written"
    return state


def test_every_end_of_a_tick_is_published_to_everybody_and_nothing_else_is(make: MakeService) -> None:
    service = make()
    assert service.tick().ok
    assert (state_of(service)["result"], state_of(service)["serial"]) == ("ok", None), "no certificate yet"
    service.serve()
    assert service.tick().ok
    fine = state_of(service)
    assert (fine["result"], fine["message"], fine["served_is_disk"]) == ("ok", "", True)
    assert f"serial={fine['serial']}" == service.serial_on_disk()
    assert fine["not_before"] == fine["key_created"] < fine["time"] < fine["next_due"] < fine["not_after"]
    # Names that one must know, and the files behind them.
    closed = f"runuser -u nobody -- sh -c 'ls {RUN_DIR}; cat {RUN_DIR}/{service.name}.lock' 2>&1 >/dev/null | wc -l"
    assert service.sh(closed).strip() == "2"

    service.force()
    assert service.tick().ok
    renewed = state_of(service)
    assert renewed["message"].startswith("renewed until")
    # Not `>`: dates have whole seconds, and both certificates may be of the same one.
    assert renewed["last_renewal"] and renewed["not_before"] >= fine["not_before"] == renewed["key_created"]
    assert renewed["serial"] != fine["serial"]

    faults.ca_stop()
    try:
        service.force()
        error = service.tick().error
    finally:
        faults.ca_start()
    failed = state_of(service)
    assert failed["result"] == "failed" and failed["message"] in error
    assert (failed["serial"], failed["served_is_disk"]) == (renewed["serial"], True)

    service.renew_in_place()
    with service.broken_config():
        assert "cannot be reloaded" in service.tick().error
    stale = state_of(service)
    assert (stale["result"], f"serial={stale['serial']}") == ("failed", service.serial_on_disk())

    # From systemd 256 on, `systemctl kill --signal=KILL` of the whole unit hits ExecStopPost=, too (Linux 6.18).
    service.stub("ss", f"kill -KILL $(/usr/bin/systemctl show -P MainPID {service.unit}); sleep 9")
    assert not service.tick().ok
    assert state_of(service)["message"].startswith("killed before it finished (signal)")
    service.unstub()
    assert service.tick().ok
    assert (state_of(service)["result"], state_of(service)["served_is_disk"]) == ("ok", True)


def test_a_state_that_cannot_be_written_changes_nothing_for_the_renewal(make: MakeService) -> None:
    service = make().serve(DUE)
    service.sh(f"mkdir -p {tick_state.FOLDER}/{service.name}.json {METRICS}/meshfab_{service.name}.prom")
    try:
        old = service.serial_on_disk()
        tick = service.tick()
        assert (tick.ok, len(tick.lines)) == (True, 1)
        assert service.served_serial() == service.serial_on_disk() != old
        assert service.leftovers() == ""
    finally:
        service.sh(f"rm -r {tick_state.FOLDER}/{service.name}.json {METRICS}")


def metrics_of(service: Service) -> dict[str, float]:
    lines = service.sh(f"cat {METRICS}/meshfab_{service.name}.prom").splitlines()
    samples = [line.partition("{") for line in lines if not line.startswith("#")]
    return {name.removeprefix("meshfab_"): float(rest.split()[-1]) for name, _, rest in samples}


@pytest.mark.slow
def test_node_exporter_and_prometheus_raise_the_alert_when_a_tick_fails_and_end_it(
    make: MakeService, tmp_path: Path
) -> None:
    service = make().serve()
    service.sh(f"mkdir -p {METRICS}; ln -s /etc/hostname {METRICS}/.meshfab_{service.name}.prom.new")
    hostname = service.sh("cat /etc/hostname")
    try:
        assert service.tick().ok
        fine, state = metrics_of(service), state_of(service)
        assert fine["tick_success"] == fine["served_is_disk"] == 1
        assert (fine["tick_timestamp_seconds"], fine["not_after_timestamp_seconds"]) == (
            state["time"],
            state["not_after"],
        )
        assert service.sh("cat /etc/hostname") == hostname, "no link of somebody else is followed"
        assert service.sh(f"stat -c '%a %U' {METRICS}/meshfab_{service.name}.prom").split() == ["644", "root"]
        text = service.sh(f"cat {METRICS}/*.prom")
        judged = subprocess.run(
            [str(prometheus_tools.find()), "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")

        with prometheus_tools.watching(service.host, METRICS, tmp_path) as alerts:
            failed, silent = ("MeshTickFailed", service.name), ("MeshTickSilent", service.name)
            wait_until(lambda: alerts() is not None, "the first scrape", 60)
            assert not {failed, silent} & (alerts() or set())
            service.force()
            faults.ca_stop()
            try:
                assert service.tick().error
            finally:
                faults.ca_start()
            assert metrics_of(service)["tick_success"] == 0
            wait_until(lambda: failed in (alerts() or set()), "the alert", 60)
            assert service.tick().ok
            wait_until(lambda: failed not in (alerts() or {failed}), "the end of the alert", 60)
            # What node_exporter reports when no tick has come for as long as two may take.
            service.sh(f"touch -d '-41 minutes' {METRICS}/meshfab_{service.name}.prom")
            wait_until(lambda: silent in (alerts() or set()), "the alert of silence", 60)
    finally:
        service.sh(f"rm -r {METRICS}")
