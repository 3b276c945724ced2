"""What is changed in the DNS, and what never is."""

from __future__ import annotations

import pytest

from meshfab.dns.record import Change, Record, Wish, plan
from meshfab.errors import DnsError

OLD, NEW, THIRD = "10.87.0.11", "10.87.0.12", "10.87.0.13"
NAME = "tea.internal"


def ours(*addresses: str) -> Record:
    return Record(NAME, addresses, is_ours=True)


@pytest.mark.parametrize(
    ("before", "wish", "after"),
    [
        (Record(NAME), Wish((NEW,)), (NEW,)),
        (ours(OLD), Wish((NEW,)), (NEW,)),
        (ours(OLD), Wish((NEW,), keeps_others=True), (OLD, NEW)),
        (ours(OLD, NEW), Wish((OLD,), is_removal=True), (NEW,)),
        (ours(OLD), Wish((OLD,), is_removal=True), ()),
        (ours(OLD, NEW), Wish((), is_removal=True, is_whole=True), ()),
        # The mark of a record that somebody removed by hand.
        (ours(), Wish((OLD,), is_removal=True), ()),
    ],
    ids=["new", "moved", "one more host", "one host less", "the last host", "whole", "a mark alone"],
)
def test_a_change_is_planned(before: Record, wish: Wish, after: tuple[str, ...]) -> None:
    assert plan(before, wish, "ns") == Change(before, after)


@pytest.mark.parametrize(
    ("before", "wish"),
    [
        (ours(NEW), Wish((NEW,))),
        (Record(NAME, (NEW,)), Wish((NEW,))),
        (ours(OLD, NEW), Wish((NEW,), keeps_others=True)),
        (Record(NAME), Wish((OLD,), is_removal=True)),
        (ours(NEW), Wish((OLD,), is_removal=True)),
        (Record(NAME, (OLD,)), Wish((OLD,), is_removal=True)),
        (Record(NAME, (OLD,)), Wish((), is_removal=True, is_whole=True)),
    ],
    ids=[
        "right",
        "right, and foreign",
        "among others",
        "nothing there",
        "leads elsewhere",
        "foreign",
        "foreign, whole",
    ],
)
def test_nothing_is_planned_where_nothing_is_to_do_or_the_record_is_foreign(before: Record, wish: Wish) -> None:
    assert plan(before, wish, "ns") is None


@pytest.mark.parametrize("before", [Record(NAME, (OLD,)), Record(NAME, other="CNAME elsewhere.internal.")])
def test_a_foreign_record_stops_it_with_both_values(before: Record) -> None:
    with pytest.raises(DnsError, match=rf"ns: .*did not write: ({OLD}|CNAME elsewhere.*), and {NEW} is wanted"):
        plan(before, Wish((NEW,)), "ns")


@pytest.mark.parametrize(
    ("wish", "answer", "is_met"),
    [
        (Wish((NEW, "fd87::c")), {NEW}, True),
        (Wish((NEW,)), {NEW, OLD}, False),
        (Wish((NEW,)), set(), False),
        (Wish((NEW,), keeps_others=True), {NEW, OLD}, True),
        (Wish((NEW,), keeps_others=True), {OLD}, False),
        (Wish((NEW,), is_removal=True), {OLD}, True),
        (Wish((NEW,), is_removal=True), {OLD, NEW}, False),
    ],
)
def test_an_answer_is_compared_with_what_is_wished(wish: Wish, answer: set[str], is_met: bool) -> None:
    assert wish.is_met(answer) is is_met


def test_a_change_says_what_it_does() -> None:
    assert Change(Record(NAME), (NEW,)).reason == f"{NAME}: it led nowhere, and leads to {NEW}"
    assert Change(ours(NEW), ()).reason == f"{NAME}: {NEW} is removed"
