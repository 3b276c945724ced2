"""The page of check-certs for a thousand certificates, in a real browser."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, HostReport, Report
from meshfab.cli import html_report
from tests.support.browser import dump_page

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="NO BROWSER TEST: chromium not installed; apt-get install chromium"
)

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
STALE = Finding("served-stale", "critical", "clients get another one", "inv provision --name s0005 --host h05")


def thousand() -> Report:
    """Fifty hosts with twenty services each; one certificate is stale. Every host calls itself localhost."""
    hosts = []
    for number in range(50):
        own = CertificateReport("localhost", "localhost", "host", NOW, NOW + timedelta(hours=24), serial="1")
        services = tuple(
            CertificateReport(
                f"s{at:04}",
                f"s{at:04}.internal",
                "service",
                NOW - timedelta(minutes=at),
                NOW - timedelta(minutes=at) + timedelta(hours=24),
                serial="1",
                served=True,
                findings=(STALE,) if at == 5 else (),
            )
            for at in range(number * 20, number * 20 + 20)
        )
        hosts.append(HostReport(f"h{number:02}", (*services, own)))
    return Report(NOW, tuple(hosts), 2.5)


def rows_at(file: Path, address: str) -> list[list[str]]:
    """The cells of the rows that the browser shows for this page with this fragment, top to bottom."""
    body = dump_page(f"file://{file}{address}", file.parent).partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr([^>]*)>(.*?)</tr>", body, re.DOTALL)
    assert len(rows) == 1050
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for attributes, row in rows
        if "hidden" not in attributes
    ]


def test_a_thousand_certificates_are_sorted_and_filtered_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(html_report.text(thousand()))
    everything = rows_at(file, "")
    assert len(everything) == 1050
    assert everything[0][1:3] == ["s0005.internal", "h00"], "worst first"
    own = [row[2] for row in everything if row[1] == "localhost (its own pair)"]
    assert len(set(own)) == 50, "told apart by the operator's name for the host"

    # As the controls put it into the address: a filter, a status that is switched off, a column, its direction.
    assert [row[1] for row in rows_at(file, "#q=h07+s01&off=&by=-1")] == [
        f"s{at:04}.internal" for at in range(159, 139, -1)
    ]
    assert len(rows_at(file, "#q=stale&off=")) == 1
    assert len(rows_at(file, "#off=critical")) == 1049
    by_name = [row[1] for row in rows_at(file, "#q=internal&by=1")]
    assert by_name == sorted(by_name) and len(by_name) == 1000
    by_life = [row[1] for row in rows_at(file, "#q=internal&by=3&down=1")]
    assert (by_life[0], by_life[-1]) == ("s0000.internal", "s0999.internal")
