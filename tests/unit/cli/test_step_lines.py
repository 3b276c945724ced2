"""What the operator sees."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest

from meshfab.checks.duration import duration
from meshfab.cli.step_lines import StepPrinter
from meshfab.config.service import Service
from meshfab.dns.publication import Publication
from meshfab.errors import DnsError, MintError, NginxError
from meshfab.fleet.host_outcome import HostOutcome
from meshfab.host import certificate
from meshfab.host.tls_client import Served
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.plan import Step
from tests.support.certificates import SERVICE, SETTINGS, authority, good_pair

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
    lines = StepPrinter(out)
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
    StepPrinter(out).step("rights", trick)
    printed(outcome(notes=(trick,)), out)
    printed(outcome(changed=(Step("mint", trick),)), out, is_dry=True)
    assert not set(out.getvalue()) & set("\x1b\x07\r")


TRICK = "\x1b[2J\x1b]0;title\x07evil\rnothing to do"
MILK = Service.of("milk", SETTINGS)
REFUSED = NginxError("nginx refuses", host="h2", remedy="repair it")


def host_lines(*services: Outcome, is_dry: bool = False, out: io.StringIO | None = None, **more: Any) -> list[str]:
    out = out or io.StringIO()
    StepPrinter(out).host(HostOutcome("h2", services, seconds=0.24, **more), dry_run=is_dry)
    return out.getvalue().splitlines()


class TestApply:
    def test_a_host_where_nothing_was_to_do_is_one_line(self) -> None:
        lines = host_lines(outcome(), outcome(service=MILK))
        assert lines == ["h2 as declared: gongfoo.internal, milk.internal"]
        assert host_lines() == ["h2 as declared: nothing is declared here"]

    def test_what_changed_is_told_with_each_reason_and_the_rest_in_one_line(self) -> None:
        steps = ((MILK, "mint", "of milk"), (SERVICE, "mint", "new pair: no certificate"))
        lines = host_lines(outcome(changed=(STEP,)), outcome(service=MILK), steps=steps)
        assert lines[0] == "  mint     new pair: no certificate"
        assert lines[1].startswith("  served   https://gongfoo.internal at 10.87.0.12:443 is the leaf on disk")
        assert lines[2:] == ["h2 gongfoo.internal: 1 change (0.2 s)", "h2 as declared: milk.internal"]

    def test_a_note_of_a_service_is_told_though_nothing_changed(self) -> None:
        assert "  note     the vhost is yours" in host_lines(outcome(notes=("the vhost is yours",)))

    def test_each_service_that_failed_has_its_own_line(self) -> None:
        lines = host_lines(outcome(error=REFUSED), outcome(service=MILK, changed=(STEP,), error=MintError("no CA")))
        assert lines == [
            "  failed   h2: nginx refuses -> repair it",
            "h2 gongfoo.internal: failed",
            "  failed   no CA",
            "h2 milk.internal: 1 change, then failed",
        ]

    def test_what_failed_on_the_whole_host_is_told_once(self) -> None:
        lines = host_lines(outcome(error=REFUSED), outcome(service=MILK, error=REFUSED), error=REFUSED)
        assert [line for line in lines if "refuses" in line] == ["  failed   h2: nginx refuses -> repair it"]
        assert lines[:2] == ["h2 gongfoo.internal: failed", "h2 milk.internal: failed"]
        # What had come to its end before that is told all the same.
        lines = host_lines(outcome(error=REFUSED), outcome(service=MILK), error=REFUSED)
        assert lines[-1] == "h2 as declared: milk.internal"
        assert host_lines(error=REFUSED) == ["  failed   h2: nginx refuses -> repair it"]

    def test_strays_are_told(self) -> None:
        assert "  note     h2: orphan: old.internal" in host_lines(outcome(), undeclared=("orphan: old.internal",))

    def test_a_dry_run_says_what_would_be_done(self) -> None:
        lines = host_lines(outcome(changed=(STEP,), diffs=("+x\n",)), outcome(service=MILK), is_dry=True)
        assert lines == [
            "  mint     would be done: no certificate",
            "+x",
            "h2 gongfoo.internal: 1 step to do; nothing was written",
            "h2 as declared: milk.internal",
        ]

    def test_the_sum_names_who_failed(self) -> None:
        came = [
            HostOutcome("h1", (outcome(changed=(STEP,)),)),
            HostOutcome("h2", (outcome(),)),
            HostOutcome("h3", (outcome(changed=(STEP,)), outcome(service=MILK, error=REFUSED))),
            HostOutcome("h4", error=REFUSED),
        ]

        def total(count: int, *, dry_run: bool = False) -> str:
            out = io.StringIO()
            StepPrinter(out).mesh(came[:count], 1.0, dry_run=dry_run)
            return out.getvalue()

        assert total(4) == "4 hosts, 1 changed, 1 as declared, 2 failed: h3, h4 (1.0 s)\n"
        assert total(1, dry_run=True) == "1 host, 1 to change, 0 as declared (1.0 s)\n"

    def test_a_pipe_gets_no_colours_and_a_terminal_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        given: dict[str, Any] = {"steps": ((SERVICE, "mint", "x"),), "undeclared": ("y",), "error": REFUSED}
        assert "\x1b" not in "".join(host_lines(outcome(changed=(STEP,)), **given))
        assert "\x1b[" in "".join(host_lines(outcome(changed=(STEP,)), out=Terminal(), **given))

    def test_a_hosts_words_play_no_tricks(self) -> None:
        bad = MintError(TRICK, host="h2")
        for is_dry in (False, True):
            one = outcome(changed=(Step("mint", TRICK),), notes=(TRICK,), diffs=(TRICK,))
            lines = host_lines(one, steps=((SERVICE, "mint", TRICK),), undeclared=(TRICK,), error=bad, is_dry=is_dry)
            lines += host_lines(outcome(error=bad), is_dry=is_dry)
            assert not set("".join(lines)) & set("\x1b\x07\r")


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
    assert duration(span) == text


def test_a_dns_server_that_is_down_is_one_line_and_not_one_a_name() -> None:
    out = io.StringIO()
    down = DnsError("the DNS server cannot be used", host="10.87.0.1")
    changed = Publication("h2", "tea.internal", ("10.87.0.12",), reason="tea.internal: it led nowhere")
    failed = [Publication("h2", f"{name}.internal", error=down) for name in ("milk", "wine")]
    StepPrinter(out).publications([changed, *failed], dry_run=False)
    assert out.getvalue().splitlines() == [
        "  publish-dns tea.internal: it led nowhere",
        "  failed   10.87.0.1: the DNS server cannot be used",
        "3 names in the DNS: 1 changed, 2 failed",
    ]
