"""The output of a run: one line for each step, with what changed and why."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

from meshfab.checks.duration import duration
from meshfab.errors import LONGEST, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.dns.publication import Publication
    from meshfab.fleet.host_outcome import HostOutcome
    from meshfab.provisioning.outcome import Outcome, Retirement

# A host may claim to have any number of services.
_MOST_NOTES = 20
_GREEN, _YELLOW, _RED, _BOLD, _DIM, _OFF = "\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


class StepPrinter:
    """Lines on a terminal, coloured; plain in a pipe or with NO_COLOR (no-color.org)."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.has_colour = self.out.isatty() and not os.environ.get("NO_COLOR")

    def step(self, verb: str, text: str) -> None:
        """A step that was done."""
        self._line(verb, text, _GREEN)

    def note(self, label: str, text: str) -> None:
        """Something that the operator has to do or to know."""
        self._line(label, text, _YELLOW)

    def outcome(self, outcome: Outcome, seconds: float) -> None:
        """The outcome of a run."""
        for note in outcome.notes:
            self._line("note", note, _YELLOW)
        if outcome.served and outcome.leaf and outcome.served.der == outcome.leaf.der:
            self._line("served", self._proof(outcome), _GREEN)
        what = _changes(outcome) if outcome.changed else "nothing to do, nothing changed"
        self._last(outcome, f"{what} {self._paint(f'({seconds:.1f} s)', _DIM)}")

    def dry_run(self, outcome: Outcome) -> None:
        """What a run would do."""
        for step in outcome.changed:
            self._line(step.verb, f"would be done: {step.reason}", _YELLOW)
        for note in outcome.notes:
            self._line("note", note, _YELLOW)
        for diff in outcome.diffs:
            self._print(printable(diff).rstrip("\n"))
        count = len(outcome.changed)
        what = f"{count} step{'s' if count > 1 else ''} to do" if count else "nothing to do"
        self._last(outcome, f"{what}; nothing was written")

    def retirement(self, retired: Retirement, seconds: float | None, *, dry_run: bool) -> None:
        """The end of a service; in a dry run, what would be done."""
        if dry_run:
            for step in retired.changed:
                self._line(step.verb, f"would be done: {step.reason}", _YELLOW)
        for note in retired.notes:
            self._line("note", note, _YELLOW)
        for each in retired.unrevoked:
            what = f"serial {each.serial}, until {each.not_after:%Y-%m-%d %H:%M} UTC: whoever has its pair can renew it"
            self._line("unrevoked", what, _YELLOW)
        if retired.unrevoked:
            end = max(each.not_after for each in retired.unrevoked)
            self._line("note", f"the last certificate that is not revoked ends {end:%Y-%m-%d %H:%M} UTC", _YELLOW)
        count = len(retired.changed)
        what = "retired, nothing of it is left" if count else "nothing to do, nothing of it is here"
        if dry_run:
            what = f"{count} step{'s' if count > 1 else ''} to do; nothing was written" if count else what
        self._last(retired, what if seconds is None or dry_run else f"{what} {self._paint(f'({seconds:.1f} s)', _DIM)}")

    def publications(self, publications: Sequence[Publication], *, dry_run: bool) -> None:
        """What became of names in the DNS: a line for each that was changed or failed, and the sum."""
        for each in publications:
            if each.reason:
                would = "would be done: " if dry_run else ""
                self._line("publish-dns", f"{would}{each.reason}", _YELLOW if dry_run else _GREEN)
        # A server that is down is one line, and not one for each name.
        for error in dict.fromkeys(str(each.error) for each in publications if each.error):
            self._line("failed", error, _RED)
        changed = sum(bool(each.reason) for each in publications)
        failed = sum(bool(each.error) for each in publications)
        count = f"{len(publications)} name{'s' if len(publications) != 1 else ''} in the DNS"
        done = f"{changed} {'to change' if dry_run else 'changed'}" + (f", {failed} failed" if failed else "")
        self._print(f"{self._paint(count, _BOLD)}: {done if changed or failed else 'all as they should be'}")

    def retirements(self, host_outcomes: Sequence[HostOutcome], *, dry_run: bool) -> None:
        """What `apply --prune` ends, or would end."""
        for retired in (each for host_outcome in host_outcomes for each in host_outcome.retired):
            if retired.error:
                self._line("failed", str(retired.error), _RED)
                self._last(retired, "not retired")
            else:
                self.retirement(retired, None, dry_run=dry_run)

    def host(self, host_outcome: HostOutcome, *, dry_run: bool) -> None:
        """The outcome of `apply` on one host: one line if there was nothing to do, else every step and its reason."""
        idle = [outcome for outcome in host_outcome.services if not (outcome.changed or outcome.notes or outcome.error)]
        for outcome in host_outcome.services:
            if outcome not in idle:
                self._service(outcome, host_outcome, dry_run=dry_run)
        for stray in host_outcome.undeclared[:_MOST_NOTES]:
            self._line("note", f"{host_outcome.host}: {stray}", _YELLOW)
        if (more := len(host_outcome.undeclared) - _MOST_NOTES) > 0:
            self._line("note", f"{host_outcome.host}: and {more} more undeclared services", _YELLOW)
        if host_outcome.prunable:
            names = ", ".join(host_outcome.prunable[:_MOST_NOTES])
            self._line("note", f"{host_outcome.host}: --prune would retire what meshfab set up: {names}", _YELLOW)
        if host_outcome.error:
            self._line("failed", str(host_outcome.error), _RED)
        if idle or not (host_outcome.services or host_outcome.error):
            names = ", ".join(outcome.service.fqdn for outcome in idle) or "nothing is declared here"
            self._print(f"{self._paint(host_outcome.host, _BOLD)} as declared: {names}")

    def _service(self, outcome: Outcome, host_outcome: HostOutcome, *, dry_run: bool) -> None:
        for service, verb, text in host_outcome.steps:
            if service.name == outcome.service.name:
                self.step(verb, text)
        if outcome.error:
            if outcome.error is not host_outcome.error:
                self._line("failed", str(outcome.error), _RED)
            self._last(outcome, f"{_changes(outcome)}, then failed" if outcome.changed else "failed")
        elif dry_run:
            self.dry_run(outcome)
        else:
            self.outcome(outcome, host_outcome.seconds)

    def mesh(self, outcomes: Sequence[HostOutcome], seconds: float, *, dry_run: bool) -> None:
        """The summary of an `apply`, with the names of the failed hosts."""
        failed = [outcome.host for outcome in outcomes if not outcome.is_well]
        changed = [outcome.host for outcome in outcomes if outcome.is_well and outcome.is_changed]
        parts = [f"{len(outcomes)} host{'s' * (len(outcomes) != 1)}"]
        parts.append(f"{len(changed)} {'to change' if dry_run else 'changed'}")
        parts.append(f"{len(outcomes) - len(changed) - len(failed)} as declared")
        text = ", ".join(parts) + (
            f", {self._paint(f'{len(failed)} failed: ' + ', '.join(failed), _RED)}" if failed else ""
        )
        self._print(f"{text} {self._paint(f'({seconds:.1f} s)', _DIM)}")

    def _line(self, label: str, text: str, colour: str) -> None:
        self._print(f"  {self._paint(f'{label:<8}', colour)} {one_line(text, longest=4 * LONGEST)}")

    def _last(self, outcome: Outcome | Retirement, what: str) -> None:
        self._print(f"{self._paint(f'{outcome.host} {outcome.service.fqdn}', _BOLD)}: {what}")

    def _proof(self, outcome: Outcome) -> str:
        served, leaf = outcome.served, outcome.leaf
        if served is None or leaf is None:
            return ""
        asked_from = f"asked from {served.via}, not from here" if served.via else "asked from here"
        return (
            f"https://{outcome.service.fqdn} at {served.location} is the leaf on disk ({asked_from}), "
            f"until {leaf.not_after:%Y-%m-%d %H:%M} UTC, {duration(leaf.not_after - datetime.now(timezone.utc))} left"
        )

    def _paint(self, text: str, code: str) -> str:
        return f"{code}{text}{_OFF}" if self.has_colour else text

    def _print(self, text: str) -> None:
        print(text, file=self.out, flush=True)


def _changes(outcome: Outcome) -> str:
    return f"{len(outcome.changed)} change{'s' if len(outcome.changed) > 1 else ''}"
