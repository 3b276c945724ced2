"""What a benchmark has found, as values and as a file. Pure, but for reading and writing the file."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLOOR = "ssh"


@dataclass(frozen=True)
class Summary:
    """Seconds of the runs of one job."""

    median: float
    low: float
    high: float
    count: int


@dataclass
class Heat:
    """One comparison: samples of every contender's jobs, and what went wrong.

    Attributes:
        series: "lan", or what the line adds.
        hosts: how many.
        round_trip: between the operator and a host, as measured, in seconds.
        samples: contender -> job -> seconds of each run; the floor's one job is "true".
        failures: contender -> why it does not count.
    """

    series: str
    hosts: int
    round_trip: float = 0.0
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, contender: str, job: str, seconds: float) -> None:
        """Note the time of one run."""
        self.samples.setdefault(contender, {}).setdefault(job, []).append(round(seconds, 3))

    def summary(self, contender: str, job: str) -> Summary | None:
        """The runs of a job; None when there are none that count."""
        taken = self.samples.get(contender, {}).get(job)
        return None if not taken or contender in self.failures else summarise(taken)

    def floor(self) -> float | None:
        """The median of a bare ssh to the same hosts."""
        found = self.summary(FLOOR, "true")
        return found.median if found else None

    def ratio(self, contender: str, job: str) -> float | None:
        """A job's median in units of the floor's."""
        found, floor = self.summary(contender, job), self.floor()
        return found.median / floor if found and floor else None


@dataclass
class Results:
    """A whole benchmark: the machine, the versions, who could not take part, and the comparisons."""

    machine: dict[str, Any]
    versions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    heats: list[Heat] = field(default_factory=list)

    def heat(self, series: str, hosts: int) -> Heat | None:
        """The comparison of that series and size."""
        return next((one for one in self.heats if (one.series, one.hosts) == (series, hosts)), None)

    def write(self, file: Path) -> None:
        """Save it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read(file: Path) -> Results:
    """Load what `write` has saved."""
    found = json.loads(file.read_text())
    found["heats"] = [Heat(**one) for one in found["heats"]]
    return Results(**found)


def summarise(taken: Sequence[float]) -> Summary:
    """Median, extremes and number of some seconds."""
    return Summary(statistics.median(taken), min(taken), max(taken), len(taken))
