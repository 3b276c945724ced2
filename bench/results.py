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
        services: the number of services on each host.
        machine: where and when it was measured (`system_info.describe`).
        versions: what was measured, name -> version.
        round_trip: the measured round-trip time between the operator and a host, in seconds.
        samples: contender -> job -> seconds of each run. The only job of the baseline is "true".
        failures: contender -> the reason why its runs do not count.
    """

    series: str
    hosts: int
    services: int = 1
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    round_trip: float = 0.0
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def scenario(self) -> tuple[str, int, int]:
        """What tells one scenario from another."""
        return self.series, self.hosts, self.services

    @property
    def contenders(self) -> set[str]:
        """The contenders that took part, beside the baseline."""
        return {*self.samples, *self.failures} - {BASELINE}

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


@dataclass(frozen=True)
class Cell:
    """All results of one scenario, the newest first: a partial benchmark measures some contenders again.

    Attributes:
        parts: the results; a contender is in one of them.
    """

    parts: tuple[ScenarioResult, ...]

    @property
    def newest(self) -> ScenarioResult:
        """The result that was measured last."""
        return self.parts[0]

    def part_of(self, *contenders: str) -> ScenarioResult | None:
        """The newest result in which all of them took part, so that they can be compared."""
        return next((part for part in self.parts if {*contenders} - {BASELINE} <= part.contenders), None)

    def summary(self, contender: str, job: str) -> Summary | None:
        """The runs of a job, from the result that the contender is in."""
        part = self.part_of(contender)
        return part.summary(contender, job) if part else None

    def ratio(self, contender: str, job: str) -> float | None:
        """The median time of a job, divided by the baseline of the same benchmark."""
        part = self.part_of(contender)
        return part.ratio(contender, job) if part else None


@dataclass
class Results:
    """A whole benchmark: the contenders that are missing, and the scenarios, the newest result of each first."""

    missing: dict[str, str] = field(default_factory=dict)
    scenarios: list[ScenarioResult] = field(default_factory=list)

    def cells(self) -> list[Cell]:
        """The results by scenario."""
        by_scenario: dict[tuple[str, int, int], list[ScenarioResult]] = {}
        for result in self.scenarios:
            by_scenario.setdefault(result.scenario, []).append(result)
        return [Cell(tuple(parts)) for parts in by_scenario.values()]

    def write(self, file: Path) -> None:
        """Save the results as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read(file: Path) -> Results:
    """Load results that `write` has saved."""
    values = json.loads(file.read_text())
    values["scenarios"] = [ScenarioResult(**scenario) for scenario in values["scenarios"]]
    return Results(**values)


def merge(old: Results, new: Results) -> Results:
    """The new results, and of the old ones the contenders that were not measured again, each with its own baseline."""
    measured = {result.scenario: result.contenders for result in new.scenarios}
    kept = []
    for result in old.scenarios:
        again = measured.get(result.scenario, set())
        samples = {key: jobs for key, jobs in result.samples.items() if key not in again}
        failures = {key: reason for key, reason in result.failures.items() if key not in again}
        if result.contenders - again:
            kept.append(dataclasses.replace(result, samples=samples, failures=failures))
    order = list(dict.fromkeys(result.scenario for result in (*old.scenarios, *new.scenarios)))
    scenarios = sorted([*new.scenarios, *kept], key=lambda result: order.index(result.scenario))
    present = {key for result in scenarios for key in result.contenders}
    missing = {key: reason for key, reason in (old.missing | new.missing).items() if key not in present}
    return Results(missing, scenarios)


def summarise(seconds: Sequence[float]) -> Summary:
    """Median, minimum, maximum and count."""
    return Summary(statistics.median(seconds), min(seconds), max(seconds), len(seconds))
