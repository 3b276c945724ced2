"""The benchmark on one host: its checker sees every fault, and a race comes to an end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench import checker, contenders, place, race, schedule
from lab.faults import host_reset
from lab.services import dns, hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.results import Heat

# What is done to the host, what undoes it, and what the checker says meanwhile.
_FAULTS = [
    ("touch /tmp/w2-provisioner", "rm /tmp/w2-provisioner", "the password lies in /tmp"),
    ("systemctl stop step@w2.timer", "systemctl start step@w2.timer", "the timer does not run"),
    ("systemctl disable step@w2.timer", "systemctl enable step@w2.timer", "the timer is not enabled"),
    ("setfacl -b KEY", "setfacl -m u:nginx:r KEY", "nginx has no right to read the key"),
    ("chmod 644 KEY", "chmod 640 KEY", "the mode of the key is not 0640"),
    ("mv KEY KEY.away", "mv KEY.away KEY", "the key is missing or is not its own"),
    (
        "cp -a CERT CERT.away; cp /etc/pki/ca-trust/source/anchors/root-internal.pem CERT",
        "mv CERT.away CERT",
        "the leaf on disk is not what a client gets",
    ),
    ("systemctl stop nginx", "systemctl start nginx", "the leaf on disk is not what a client gets"),
]


@pytest.fixture
def site() -> Iterator[place.Site]:
    """w2 on a host as it was brought up, and again so afterwards."""
    found = place.sites(1)[0]
    host_reset.reset(found.host)
    dns.point(found.name, found.host)
    yield found
    dns.unpoint(found.name)
    host_reset.reset(found.host)


def test_the_checker_sees_every_fault(site: place.Site, tmp_path: Path) -> None:
    assert "no certificate" in checker.faults(site)
    where = place.Place(tmp_path, (site,))
    where.write()
    subprocess.run(contenders.tight(where)["first"].argv, check=True, capture_output=True)
    assert checker.all_faults([site]) == []
    cert, key = f"/etc/nginx/tls/cert/{site.fqdn}.pem", f"/etc/nginx/tls/key/{site.fqdn}.pem"
    for strike, mend, said in _FAULTS:
        hosts.run(site.host, strike.replace("CERT", cert).replace("KEY", key))
        assert said in checker.faults(site), strike
        hosts.run(site.host, mend.replace("CERT", cert).replace("KEY", key))
    assert checker.all_faults([site]) == []


@pytest.mark.usefixtures("site")
def test_a_race_of_one_round_has_a_time_for_every_job(tmp_path: Path) -> None:
    found: list[Heat] = []
    race.run(schedule.Heat("lan", 1, 1), tmp_path, ["meshfab", "script"], {}, found.append)
    assert found[-1].failures == {}
    jobs = {key: sorted(taken) for key, taken in found[-1].samples.items()}
    every = ["check", "first", "second"]
    assert jobs == {"ssh": ["true"], "meshfab": every, "script": every}
