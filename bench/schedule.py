"""Which contender runs in which round, and in which order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

JOBS = ("first", "second", "check")
# Series -> the round-trip time that is added between the operator and each host, in milliseconds.
SERIES = {"lan": 0, "40ms": 40}
# Slow contenders take part in fewer rounds; otherwise a benchmark takes hours. "one" is the scenario with one host, in
# every series; the other keys are the series with many hosts. Where there is no number, there is no limit.
_ROUND_LIMITS = {
    "ansible": {"one": 3, "lan": 2, "40ms": 0},
    "pyinfra": {"one": 3, "lan": 2, "40ms": 1},
    "script": {"lan": 2, "40ms": 1},
    "multiplexed": {"lan": 2, "40ms": 1},
}


@dataclass(frozen=True)
class Scenario:
    """What is measured together: the series, the number of hosts and the number of rounds."""

    series: str
    hosts: int
    rounds: int


def scenarios(series: Sequence[str], hosts: int, runs: int) -> list[Scenario]:
    """All scenarios of a benchmark. Runs on one host are short, so there are twice as many of them."""
    sizes = [(1, 2 * runs)] if hosts == 1 else [(1, 2 * runs), (hosts, runs)]
    return [Scenario(name, count, rounds) for name in series for count, rounds in sizes]


def rotated(items: Sequence[T], turns: int) -> list[T]:
    """The items, starting with another one in each round, so that no item always follows the same one."""
    start = turns % len(items) if items else 0
    return [*items[start:], *items[:start]]


def takes_part(key: str, scenario: Scenario, number: int) -> bool:
    """Whether a contender runs in the round of this number. The rounds of slow contenders are spread evenly."""
    kind = scenario.series if scenario.hosts > 1 else "one"
    limit = min(_ROUND_LIMITS.get(key, {}).get(kind, scenario.rounds), scenario.rounds)
    return (number + 1) * limit // scenario.rounds > number * limit // scenario.rounds


def order(keys: Sequence[str], scenario: Scenario, number: int) -> list[str]:
    """The contenders of one round, in their order."""
    return [key for key in rotated(keys, number) if takes_part(key, scenario, number)]
