"""Who runs when: the order within a round, and how often the slow ones take part. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

JOBS = ("first", "second", "check")
# Added round-trip time between the operator and each host, in milliseconds.
SERIES = {"lan": 0, "40ms": 40}
# How often those take part that would make it a matter of hours: on one host, and on many in each series.
_MOST = {
    "ansible": {"one": 3, "lan": 2, "40ms": 0},
    "pyinfra": {"one": 3, "lan": 2, "40ms": 1},
    "script": {"lan": 2, "40ms": 1},
    "multiplexed": {"lan": 2, "40ms": 1},
}


@dataclass(frozen=True)
class Heat:
    """One comparison: a series, so many hosts, so many rounds."""

    series: str
    hosts: int
    rounds: int


def heats(series: Sequence[str], hosts: int, runs: int) -> list[Heat]:
    """The comparisons of one benchmark. Runs on one host are short, so there are twice as many of them."""
    sizes = [(1, 2 * runs)] if hosts == 1 else [(1, 2 * runs), (hosts, runs)]
    return [Heat(one, count, rounds) for one in series for count, rounds in sizes]


def rotated(items: Sequence[T], turns: int) -> list[T]:
    """The items from another start each round, so that none always follows the same one."""
    start = turns % len(items) if items else 0
    return [*items[start:], *items[:start]]


def is_in(key: str, heat: Heat, number: int) -> bool:
    """Whether a contender takes part in the round of that number; the slow ones in some, evenly spread."""
    kind = heat.series if heat.hosts > 1 else "one"
    most = min(_MOST.get(key, {}).get(kind, heat.rounds), heat.rounds)
    return (number + 1) * most // heat.rounds > number * most // heat.rounds


def order(keys: Sequence[str], heat: Heat, number: int) -> list[str]:
    """Who runs in a round, in which order."""
    return [key for key in rotated(keys, number) if is_in(key, heat, number)]
