"""The benchmark on one host: the verifier reports every problem, and a scenario runs to its end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench import contenders, runner, schedule, verifier
from bench.inventory import Inventory, Site, sites
from lab.faults import host_reset
from lab.services import dns, hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.results import ScenarioResult

# A command that breaks the host, a command that repairs it, and the problem that the verifier reports in between.
_PROBLEMS = [
    ("touch /tmp/w2-provisioner", "rm /tmp/w2-provisioner", "the password is still in /tmp"),
    ("systemctl stop step@w2.timer", "systemctl start step@w2.timer", "the timer is not active"),
    ("systemctl disable step@w2.timer", "systemctl enable step@w2.timer", "the timer is not enabled"),
    ("setfacl -b KEY", "setfacl -m u:nginx:r KEY", "nginx has no right to read the key"),
    ("chmod 644 KEY", "chmod 640 KEY", "the mode of the key is not 0640"),
    ("mv KEY KEY.away", "mv KEY.away KEY", "the key is missing or does not match the certificate"),
    (
        "cp -a CERT CERT.away; cp /etc/pki/ca-trust/source/anchors/root-internal.pem CERT",
        "mv CERT.away CERT",
        "the served certificate is not the one on disk",
    ),
    ("systemctl stop nginx", "systemctl start nginx", "the served certificate is not the one on disk"),
]


@pytest.fixture
def site() -> Iterator[Site]:
    """The service w2 on a host in its initial state; the host is reset after the test."""
    w2 = sites(1)[0]
    host_reset.reset(w2.host)
    dns.point(w2.name, w2.host)
    yield w2
    dns.unpoint(w2.name)
    host_reset.reset(w2.host)


def test_the_verifier_reports_every_problem(site: Site, tmp_path: Path) -> None:
    assert "there is no certificate" in verifier.verify(site)
    inventory = Inventory(tmp_path, (site,))
    inventory.write()
    subprocess.run(contenders.tight(inventory)["first"].argv, check=True, capture_output=True)
    assert verifier.verify_all([site]) == []
    cert, key = f"/etc/nginx/tls/cert/{site.fqdn}.pem", f"/etc/nginx/tls/key/{site.fqdn}.pem"
    for break_command, repair_command, problem in _PROBLEMS:
        hosts.run(site.host, break_command.replace("CERT", cert).replace("KEY", key))
        assert problem in verifier.verify(site), break_command
        hosts.run(site.host, repair_command.replace("CERT", cert).replace("KEY", key))
    assert verifier.verify_all([site]) == []


@pytest.mark.slow
@pytest.mark.usefixtures("site")
def test_a_scenario_of_one_round_has_a_time_for_every_job(tmp_path: Path) -> None:
    rounds: list[ScenarioResult] = []
    runner.run(schedule.Scenario("lan", 1, 1), tmp_path, ["meshfab", "operator", "script"], {}, rounds.append)
    assert rounds[-1].failures == {}
    jobs = {key: sorted(samples) for key, samples in rounds[-1].samples.items()}
    script_jobs = ["check", "first", "second"]
    assert jobs == {
        "ssh": ["true"],
        "meshfab": sorted([*script_jobs, "outside", "quick", "reissue"]),
        "operator": ["first", "second"],
        "script": script_jobs,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("site")
def test_a_scenario_with_more_services_on_a_host_provisions_one_more(tmp_path: Path) -> None:
    rounds: list[ScenarioResult] = []
    runner.run(schedule.Scenario("services", 1, 1, 2), tmp_path, ["operator"], {"apply": "yes"}, rounds.append)
    for number in (2, 3):
        dns.unpoint(f"w2-{number}")
    assert rounds[-1].failures == {}
    assert sorted(rounds[-1].samples["operator"]) == ["first", "more", "more-again", "second"]
