"""The results of a benchmark, as values and as a JSON file. Only `write` and `read` touch the disk."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BASELINE = "ssh"


@dataclass(frozen=True)
class Summary:
    """The seconds that the runs of one job took."""

    median: float
    minimum: float
    maximum: float
    count: int


@dataclass
class ScenarioResult:
    """The result of one scenario: the samples of every contender, and the failures.

    Attributes:
        series: "lan", or the name of the added delay.
        hosts: the number of hosts.
        round_trip: the measured round-trip time between the operator and a host, in seconds.
        samples: contender -> job -> seconds of each run. The only job of the baseline is "true".
        failures: contender -> the reason why its runs do not count.
    """

    series: str
    hosts: int
    round_trip: float = 0.0
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, contender: str, job: str, seconds: float) -> None:
        """Record the time of one run."""
        self.samples.setdefault(contender, {}).setdefault(job, []).append(round(seconds, 3))

    def summary(self, contender: str, job: str) -> Summary | None:
        """Summarise the runs of a job; None if there is no valid run."""
        seconds = self.samples.get(contender, {}).get(job)
        return None if not seconds or contender in self.failures else summarise(seconds)

    def baseline(self) -> float | None:
        """The median time of `ssh HOST true` to the same hosts."""
        summary = self.summary(BASELINE, "true")
        return summary.median if summary else None

    def ratio(self, contender: str, job: str) -> float | None:
        """The median time of a job, divided by the baseline."""
        summary, baseline = self.summary(contender, job), self.baseline()
        return summary.median / baseline if summary and baseline else None


@dataclass
class Results:
    """A whole benchmark: the machine, the versions, the contenders that are missing, and the scenarios."""

    machine: dict[str, Any]
    versions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    scenarios: list[ScenarioResult] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Save the results as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read(file: Path) -> Results:
    """Load results that `write` has saved."""
    values = json.loads(file.read_text())
    values["scenarios"] = [ScenarioResult(**scenario) for scenario in values["scenarios"]]
    return Results(**values)


def summarise(seconds: Sequence[float]) -> Summary:
    """Median, minimum, maximum and count."""
    return Summary(statistics.median(seconds), min(seconds), max(seconds), len(seconds))
