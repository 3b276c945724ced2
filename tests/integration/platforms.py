"""Try the core of the promises on every platform of a lab, and write down what was tried, with its versions.

`./dev test --platforms` runs `python -m tests.integration.platforms` in a lab of all platforms. Arguments, if any, are
the JUnit reports of runs of the whole suite, each named `RELEASE.xml`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

import meshfab
from lab import layout
from lab.services import hosts
from tests.integration.test_platforms import one_host_of_each

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "reference" / "platforms.md"
# What prints each version on a host.
COMMANDS = {
    "systemd": "systemctl --version | head -n 1",
    "nginx": "nginx -v 2>&1",
    "OpenSSH": "/usr/sbin/sshd -V 2>&1 | grep -o 'OpenSSH_[^ ,]*'",
    "OpenSSL": "openssl version",
    "sudo": "sudo --version 2>&1 | head -n 1 | sed 's/^[Ss]udo version //'",
    "coreutils": "date --version | head -n 1 | sed 's/^date *//; s/[()]//g'",
    "`/bin/sh`": "readlink -f /bin/sh | sed 's,.*/,,'",
}
STRIPPED = ("systemd ", "nginx version: nginx/", "OpenSSH_", "OpenSSL ")


@dataclass
class Tally:
    """How tests ended."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = self.passed + len(self.failed)
        return f"{self.passed} of {total} tests pass" + "".join(f"; not `{name}`" for name in sorted(set(self.failed)))


def versions(host: str) -> list[str]:
    """What a host runs, a version for each of `COMMANDS`."""
    found = []
    for command in COMMANDS.values():
        text = hosts.run(host, command, check=False).stdout.strip()
        for prefix in STRIPPED:
            text = text.removeprefix(prefix)
        found.append(text if command.startswith(("sudo", "date")) else text.partition(" ")[0])
    return found


def tally(report: Path, platforms: list[str]) -> dict[str, Tally]:
    """How the tests of a JUnit report ended, by the platform that their parameters begin with; '' for none."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        name, _, words = case.get("name", "").partition("[")
        # `trixie+uutils-edit_the_unit]` is of trixie+uutils, not of trixie.
        named = [platform for platform in platforms if re.match(rf"{re.escape(platform)}[]-]", words)]
        outcome = tallies[max(named, key=len, default="")]
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif case.find("skipped") is None:
            outcome.passed += 1
    return dict(tallies)


def platform_rows(tallies: dict[str, Tally]) -> list[str]:
    """The table of the platforms of this lab."""
    head = ["platform", "nginx's layout", *COMMANDS, "core of the promises"]
    rows = [head, ["---"] * len(head)]
    for platform, host in one_host_of_each().items():
        rows.append([platform, layout.flavour(host), *versions(host), str(tallies.get(platform, Tally()))])
    return [f"| {' | '.join(row)} |" for row in rows]


def suite_rows(reports: list[Path]) -> list[str]:
    """A line for each release of which there are reports."""
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in reports:
        outcome = tally(report, [])[""]
        outcomes[report.stem].update(passed=outcome.passed, failed=len(outcome.failed))
    return [
        f"- {release}: {counts['passed']} passed, {counts['failed']} failed" for release, counts in outcomes.items()
    ]


def write(marker: str, lines: list[str]) -> None:
    """Write lines into the page, between the two comments of this name."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    on = f"{datetime.now(timezone.utc):%Y-%m-%d}, meshfab {meshfab.version.__version__}"
    text = "\n".join([begin, f"Written on {on}.", "", *lines, end])
    PAGE.write_text(before + text + rest.partition(end)[2])


def main(reports: list[str]) -> int:
    """Run the tests, and write the page. Returns the tests' exit status."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        tests = str(Path(__file__).with_name("test_platforms.py"))
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", tests], check=False)
        write("platforms", platform_rows(tally(report, list(one_host_of_each()))))
    if reports:
        write("every-test", suite_rows([Path(path) for path in reports]))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
