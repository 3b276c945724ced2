"""Which contender runs in which round, and in which order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

# On a host with many services: one service more, and that again with nothing left to do.
JOBS_OF_ONE_MORE = ("more", "more-again")
# What changes nothing on a host, and so needs no proof afterwards.
LOOKS = ("check", "quick", "outside")
JOBS = ("first", "second", *LOOKS, "reissue", *JOBS_OF_ONE_MORE)
# The series of one host with more and more services.
SERVICES = "services"
SERVICE_COUNTS = (1, 10, 100)
# Series -> the round-trip time that is added between the operator and each host, in milliseconds.
SERIES = {"lan": 0, "40ms": 40, SERVICES: 0}
# Slow contenders take part in fewer rounds; otherwise a benchmark takes hours. "one" is the scenario with one host and
# one service, in every series; the other keys are the series with many. Where there is no number, there is no limit.
_ROUND_LIMITS = {
    "ansible": {"one": 3, "lan": 2, "40ms": 0, SERVICES: 0},
    "pyinfra": {"one": 3, "lan": 2, "40ms": 1, SERVICES: 0},
    "script": {"lan": 2, "40ms": 1, SERVICES: 0},
    "multiplexed": {"lan": 2, "40ms": 1, SERVICES: 0},
    "tight": {SERVICES: 1},
}


@dataclass(frozen=True)
class Scenario:
    """What is measured together: the series, the number of hosts, of rounds, and of services on each host."""

    series: str
    hosts: int
    rounds: int
    services: int = 1


def scenarios(series: Sequence[str], hosts: int, runs: int) -> list[Scenario]:
    """All scenarios of a benchmark. Runs on one host are short, so there are twice as many of them."""
    sizes = [(1, 2 * runs)] if hosts == 1 else [(1, 2 * runs), (hosts, runs)]
    by_hosts = [Scenario(name, count, rounds) for name in series if name != SERVICES for count, rounds in sizes]
    return by_hosts + [Scenario(SERVICES, 1, runs, count) for count in SERVICE_COUNTS if SERVICES in series]


def rotated(items: Sequence[T], turns: int) -> list[T]:
    """The items, starting with another one in each round, so that no item always follows the same one."""
    start = turns % len(items) if items else 0
    return [*items[start:], *items[:start]]


def takes_part(key: str, scenario: Scenario, number: int) -> bool:
    """Whether a contender runs in the round of this number. The rounds of slow contenders are spread evenly."""
    kind = scenario.series if scenario.hosts > 1 or scenario.series == SERVICES else "one"
    limit = min(_ROUND_LIMITS.get(key, {}).get(kind, scenario.rounds), scenario.rounds)
    return (number + 1) * limit // scenario.rounds > number * limit // scenario.rounds


def order(keys: Sequence[str], scenario: Scenario, number: int) -> list[str]:
    """The contenders of one round, in their order."""
    return [key for key in rotated(keys, number) if takes_part(key, scenario, number)]
