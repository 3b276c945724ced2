"""What the lab's hosts run: releases and variants, from the options of `inv lab.up` to the recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.machine import platforms
from lab.machine.platforms import Platform
from tests.integration import platforms as record

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ["h1", "h2", "h3"]


def test_hosts_run_the_oldest_release_unless_told_otherwise() -> None:
    assert platforms.assign(HOSTS, []) == dict.fromkeys(HOSTS, Platform("bookworm"))


def test_one_option_is_for_all_hosts_and_others_for_one_each_in_any_order() -> None:
    assigned = platforms.assign(HOSTS, ["h2=sid", "trixie", "h3=bookworm"])
    assert {host: str(platform) for host, platform in assigned.items()} == {
        "h1": "trixie",
        "h2": "sid",
        "h3": "bookworm",
    }


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("buster", "no release 'buster'; use one of bookworm, trixie, sid"),
        ("h2=", "no release ''"),
        ("h4=sid", "no host 'h4'; it has the hosts h1 to h3"),
        ("sid+nothing", "no variant 'nothing'"),
        ("sid+../debian", "no variant"),
    ],
)
def test_an_option_that_names_nothing_is_refused(option: str, complaint: str) -> None:
    with pytest.raises(LabError, match=f"--release .*{complaint}"):
        platforms.assign(HOSTS, [option])


def test_the_layouts_of_nginx_build_on_each_other() -> None:
    names = {flavour: [name for name, _ in platforms.recipes(Platform(), flavour)] for flavour in ("debian", "fedora")}
    assert names == {"debian": ["debian"], "fedora": ["debian", "fedora"]}


def test_a_report_is_counted_for_the_platform_with_the_longest_name(tmp_path: Path) -> None:
    names = ["test_a[trixie]", "test_a[trixie+uutils]", "test_b[trixie+uutils-x]", "test_b[trixie-x]", "test_c"]
    cases = [f'<testcase name="{name}">{"<failure/>" if name == names[2] else ""}</testcase>' for name in names]
    report = tmp_path / "report.xml"
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    found = record.tally(report, ["trixie", "trixie+uutils"])
    assert {platform: str(outcome) for platform, outcome in found.items()} == {
        "trixie": "2 of 2 tests pass",
        "trixie+uutils": "1 of 2 tests pass; not `test_b`",
        "": "1 of 1 tests pass",
    }
