"""What the operator sees."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest

from meshfab import certificate
from meshfab.plan import Step
from meshfab.report import Lines, left
from meshfab.run import Outcome
from meshfab.served import Served
from tests.factories import SERVICE, authority, good_pair

LEAF = certificate.read_leaf(good_pair().pem)
SHOWN = Served(LEAF.der, "10.87.0.12")
STEP = Step("mint", "no certificate")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def outcome(**changes: Any) -> Outcome:
    said: dict[str, Any] = {"host": "h2", "service": SERVICE, "changed": (), "leaf": LEAF, "served": SHOWN, **changes}
    return Outcome(**said)


def printed(made: Outcome, out: io.StringIO | None = None, *, is_dry: bool = False) -> str:
    out = out or io.StringIO()
    lines = Lines(out)
    if is_dry:
        lines.dry_run(made)
    else:
        lines.outcome(made, 0.24)
    return out.getvalue()


def test_a_second_run_says_that_nothing_changed() -> None:
    text = printed(outcome())
    assert text.splitlines()[-1].startswith("h2 gongfoo.internal: nothing to do, nothing changed")


@pytest.mark.parametrize(("steps", "word"), [((STEP,), "1 change "), ((STEP, STEP), "2 changes ")])
def test_changes_are_counted(steps: tuple[Step, ...], word: str) -> None:
    assert word in printed(outcome(changed=steps))


def test_the_proof_is_told_with_where_it_was_asked() -> None:
    text = printed(outcome())
    assert "10.87.0.12:443 is the leaf on disk" in text
    assert "from here" in text
    assert "asked from h2" in printed(outcome(served=Served(LEAF.der, "10.87.0.12", via="h2")))


@pytest.mark.parametrize(
    "shown",
    [Served(authority().pair("x.internal").der, "10.87.0.12"), Served(None, "10.87.0.12", why="connection refused")],
    ids=["another leaf", "nothing"],
)
def test_no_proof_is_claimed_that_is_none(shown: Served) -> None:
    # renew-enable looks at what is served, and does not mend it.
    assert "is the leaf on disk" not in printed(outcome(served=shown))


def test_notes_are_shown() -> None:
    assert "the vhost is yours" in printed(outcome(notes=("the vhost is yours",)))
    assert "the vhost is yours" in printed(outcome(notes=("the vhost is yours",)), is_dry=True)


def test_a_dry_run_shows_the_plan_and_the_diffs_and_says_that_it_wrote_nothing() -> None:
    text = printed(outcome(changed=(STEP,), diffs=("--- a\n+++ b\n+x\n",)), is_dry=True)
    assert "mint" in text
    assert "no certificate" in text
    assert "+++ b\n+x\n" in text
    assert text.splitlines()[-1] == "h2 gongfoo.internal: 1 step to do; nothing was written"
    assert "nothing to do" in printed(outcome(), is_dry=True)


def test_a_pipe_gets_no_colours() -> None:
    assert "\x1b" not in printed(outcome(changed=(STEP,), notes=("x",)))


def test_a_terminal_gets_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in printed(outcome(), Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(outcome(), Terminal())
    # no-color.org: an empty value does not count.
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[" in printed(outcome(), Terminal())


def test_a_hosts_words_play_no_tricks_on_the_terminal() -> None:
    trick = "\x1b[2J\x1b]0;title\x07evil\rnothing to do"
    out = io.StringIO()
    Lines(out).step("rights", trick)
    printed(outcome(notes=(trick,)), out)
    printed(outcome(changed=(Step("mint", trick),)), out, is_dry=True)
    assert not set(out.getvalue()) & set("\x1b\x07\r")


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=59), "0 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=23, minutes=59), "23 h"),
        (timedelta(hours=71, minutes=59), "71 h"),
        (timedelta(days=3), "3 d"),
    ],
    ids=str,
)
def test_a_span_is_told_in_its_largest_unit(span: timedelta, text: str) -> None:
    assert left(span) == text
