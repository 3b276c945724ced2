"""What changed between two rounds."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, HostReport, Report
from meshfab.checks.report_changes import changes

NOW = datetime(2026, 11, 26, tzinfo=timezone.utc)
STALE = Finding("served-stale", "critical", "clients get another one", "inv provision")
SILENT = Finding("tick-silent", "warning", "the last tick ended 41 min ago", "look")


def tea(*findings: Finding, **fields: Any) -> CertificateReport:
    return CertificateReport("tea", "tea.internal", "service", findings=findings, **{"serial": "1", **fields})


def said(before: HostReport, after: HostReport) -> list[str]:
    return [str(change) for change in changes(Report(NOW, (before,)), Report(NOW, (after,)))]


def test_nothing_changed_is_nothing_said_even_if_a_message_counts_minutes() -> None:
    later = Finding("tick-silent", "warning", "the last tick ended 42 min ago", "look")
    assert said(HostReport("h1", (tea(SILENT),)), HostReport("h1", (tea(later),))) == []


def test_findings_come_get_worse_and_go() -> None:
    worse = Finding("tick-silent", "critical", "the last tick ended 3 h ago", "look")
    assert said(HostReport("h1", (tea(),)), HostReport("h1", (tea(STALE),))) == [
        "critical h1 tea: served-stale: clients get another one -> inv provision"
    ]
    assert said(HostReport("h1", (tea(SILENT),)), HostReport("h1", (tea(worse),))) == [
        "critical h1 tea: tick-silent: the last tick ended 3 h ago -> look"
    ]
    assert said(HostReport("h1", (tea(STALE),)), HostReport("h1", (tea(),))) == [
        "ok       h1 tea: served-stale is over"
    ]


def test_a_renewal_names_both_serials() -> None:
    renewed = HostReport("h1", (tea(serial="2"),))
    assert said(HostReport("h1", (tea(),)), renewed) == ["ok       h1 tea: renewed: serial 2, was 1"]


def test_services_come_and_go() -> None:
    assert said(HostReport("h1"), HostReport("h1", (tea(STALE),))) == [
        "ok       h1 tea: is new",
        "critical h1 tea: served-stale: clients get another one -> inv provision",
    ]
    assert said(HostReport("h1", (tea(),)), HostReport("h1")) == ["ok       h1 tea: is gone"]


def test_a_host_that_is_lost_and_comes_back() -> None:
    lost = HostReport("h1", error="no answer within 30 s", remedy="try ssh")
    assert said(HostReport("h1", (tea(),)), lost) == ["unknown  h1: no answer within 30 s -> try ssh"]
    assert said(lost, lost) == []
    assert said(lost, HostReport("h1", (tea(SILENT),))) == [
        "ok       h1: answers again",
        "warning  h1 tea: tick-silent: the last tick ended 41 min ago -> look",
    ]
