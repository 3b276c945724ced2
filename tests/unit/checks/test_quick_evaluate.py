"""The quick look: what a host publishes and what clients see, as findings."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.checks.quick_evaluate import evaluate_published
from meshfab.errors import ConnectError
from meshfab.host import certificate, published_states
from meshfab.host.published_states import PublishedStates
from meshfab.host.tick_state import TickState
from meshfab.host.tls_client import Served
from meshfab.ssh.script import Answer
from tests.support.certificates import SERVICE, SETTINGS, authority

if TYPE_CHECKING:
    from meshfab.checks.report import CertificateReport

ADDRESS = "10.87.0.12"
LEAF = certificate.read_leaf(authority().pair(SERVICE.fqdn).pem)
NOW = LEAF.not_before + (LEAF.not_after - LEAF.not_before) / 10
FINE = TickState(
    time=NOW - timedelta(minutes=7),
    is_ok=True,
    serial=LEAF.serial,
    not_before=LEAF.not_before,
    not_after=LEAF.not_after,
    served_is_disk=True,
)
LATE = LEAF.not_after - timedelta(minutes=1)


def report(
    state: TickState | str | None = FINE,
    der: bytes | None = LEAF.der,
    *,
    now: datetime = NOW,
    up_for: timedelta | None = timedelta(days=3),
    resolved: tuple[str, ...] = (ADDRESS,),
) -> CertificateReport:
    states = {} if state == "none" else {SERVICE.name: state}
    published = PublishedStates(now, up_for, (ADDRESS,), (SERVICE,), states, True)  # type: ignore[arg-type]
    observation = EndpointObservation((Served(der, ADDRESS, why="no answer"),), resolved)
    (made,) = evaluate_published("h2", published, {SERVICE.fqdn: observation}, {}, [SERVICE], ADDRESS)
    return made


def codes(made: CertificateReport) -> dict[str, str]:
    return {finding.code: finding.status for finding in made.findings}


def changed(**changes: Any) -> TickState:
    return TickState(**{**vars(FINE), **changes})


def test_a_fresh_word_of_a_served_certificate_is_fine_and_says_how_old_it_is() -> None:
    made = report()
    assert (codes(made), made.age, made.served) == ({}, 7 * 60, True)
    assert (made.serial, made.served_serial, made.as_of) == (str(LEAF.serial), str(LEAF.serial), FINE.time)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (report(changed(time=NOW - timedelta(minutes=41))), {"tick-silent": "warning"}),
        (
            report(changed(time=LATE - timedelta(minutes=41)), now=LATE),
            {"tick-silent": "critical", "cert-expiring": "warning"},
        ),
        (report(changed(time=NOW + timedelta(hours=1))), {}),
        (report("none"), {"tick-silent": "warning"}),
        (report("none", up_for=None), {"tick-silent": "warning"}),
        (report("none", up_for=timedelta(minutes=9)), {}),
        (report(None), {"tick-silent": "warning"}),
        (report(changed(is_ok=False, message="the CA is down")), {"renewal-failed": "warning"}),
        (
            report(changed(is_ok=False, message="the CA is down", time=LATE), now=LATE),
            {"renewal-failed": "critical", "cert-expiring": "warning"},
        ),
        (report(changed(serial=None, not_before=None, not_after=None)), {"cert-missing": "critical"}),
        (report(changed(serial=7)), {"served-stale": "critical"}),
        # Renewed after the tick's word, so the word is the older one.
        (report(changed(serial=7, time=LEAF.not_before), now=LEAF.not_before + timedelta(minutes=5)), {}),
        (report(der=None), {"not-served": "critical"}),
        (report(der=b"junk"), {"not-served": "critical"}),
        (report(resolved=("10.87.0.99",)), {"dns-mismatch": "warning"}),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(made: CertificateReport, found: dict[str, str]) -> None:
    assert codes(made) == found
    assert all(finding.remedy for finding in made.findings)


def answer(**fields: str) -> Answer:
    records = "".join(f"{key.replace('__', '/')} {len(value)}\n{value}\n" for key, value in fields.items())
    return Answer("quick", 0, records.encode(), "")


def test_an_answer_is_read_with_bounds() -> None:
    state = {"schema": 1, "time": 100, "result": "ok", "message": ""}
    fields = {
        "now": "1790000000",
        "uptime": "90",
        "addresses": "10.87.0.12 nonsense",
        "names": "tea -bad web",
        "state__tea": json.dumps(state),
        "state__web": "x",
        "readable": "yes",
    }
    published = published_states.parse(answer(**fields), "h2", SETTINGS, [])
    assert [service.name for service in published.services] == ["tea", "web"]
    assert published.states["tea"] == TickState(time=datetime.fromtimestamp(100, timezone.utc), is_ok=True)
    assert published.states["web"] is None
    assert (published.up_for, published.addresses) == (timedelta(seconds=90), (ADDRESS,))


@pytest.mark.parametrize(
    "fields",
    [{}, {"now": "yesterday"}, {"now": "9" * 400}, {"now": "1", "names": " ".join(f"s{n}" for n in range(201))}],
)
def test_an_answer_that_no_host_of_ours_gives_is_one_error(fields: dict[str, str]) -> None:
    with pytest.raises(ConnectError):
        published_states.parse(answer(**fields), "h2", SETTINGS, [])
