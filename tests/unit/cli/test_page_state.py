"""What is new since the last page."""

from __future__ import annotations

import dataclasses

import pytest

from meshfab.checks import report_changes
from meshfab.cli import html_report, page_state
from tests.unit.checks.test_report import fleet


def test_a_page_and_the_same_again_show_nothing_new() -> None:
    page = html_report.text(fleet())
    before = page_state.parse(page)
    assert before and report_changes.changes(before, fleet()) == ()
    assert "nothing new" in html_report.text(fleet(), page)
    assert "Since the page of" not in page


def test_what_changed_since_the_last_page_is_shown() -> None:
    report = fleet()
    healed = dataclasses.replace(
        report,
        hosts=tuple(
            dataclasses.replace(
                host,
                error=None,
                certificates=tuple(dataclasses.replace(each, findings=()) for each in host.certificates),
            )
            for host in report.hosts
        ),
    )
    text = html_report.text(healed, html_report.text(report))
    assert "over: cert-expired is over" in text and "answers again" in text


@pytest.mark.parametrize(
    "state",
    [
        "",
        "[]",
        "{}",
        '{"at":1,"look":"full","hosts":7}',
        '{"at":1,"look":"none","hosts":[]}',
        '{"at":"x","look":"full","hosts":[]}',
        '{"at":1e99,"look":"full","hosts":[]}',
        '{"at":1,"look":"full","hosts":[["h1",false,[["service","tea","<b>",{}]]]]}',
        '{"at":1,"look":"full","hosts":[["h1",false,[["service","tea",null,{"x":"bad"}]]]]}',
        '{"at":1,"look":"full","hosts":[[1,false,[]]]}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_no_page_of_ours_is_no_page(state: str) -> None:
    page = f'<script type="application/json" id="state">{state}</script>'
    assert page_state.parse(page) is None
    assert "Since the page of" not in html_report.text(fleet(), page)
