"""What TLS clients get under a service's name. `provision` and `check-certs` both ask here, so they cannot disagree.

The question is asked from the operator's side. Where that is impossible, the host asks for us.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.checks.client_addresses import choose_addresses, may_dial, peer
from meshfab.host import answer_fields, certificate, tls_client
from meshfab.host.call_threads import call_all
from meshfab.host.tls_client import Served
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from meshfab.nginx.listeners import Endpoint
    from meshfab.ssh.root_shell import RootShell

_AT_ONCE = 8
# How long an early answer that has not come yet may delay a run whose host has answered already.
_EARLY_SECONDS = 1.0
# How long all questions from here may take together, and how much of the time limit is left for the host to ask for us
# (tls_probe.sh waits 5 s for an answer).
_ALL_SECONDS, _HOST_ASKS_SECONDS = 30.0, 7.0


@dataclass(frozen=True)
class EndpointObservation:
    """One service as clients see it.

    Attributes:
        answers: what each address answered that clients reach; empty when nothing is meant to serve the name.
        resolved: the addresses that the name has for the operator.
    """

    answers: tuple[Served, ...] = ()
    resolved: tuple[str, ...] = ()

    def served(self, expected: bytes | None) -> Served | None:
        """The answer that counts: the first that is not the expected leaf (DER), else the first; None without any."""
        return next((answer for answer in self.answers if answer.der != expected), next(iter(self.answers), None))

    @property
    def leaves(self) -> dict[str, bytes | None]:
        """The leaf (DER) that each address serves; None where none answers."""
        return {answer.address: answer.der for answer in self.answers}


@dataclass(frozen=True)
class _Questions:
    """What is asked from here, and until when by the monotonic clock."""

    host_addresses: tuple[str, ...]
    endpoints: Mapping[str, Endpoint | None]
    timeout: float
    until: float
    early_until: float


class EndpointProbe:
    """Asks for services of one host, again and again if need be.

    Args:
        shell: the root shell that asks where the operator cannot.
        early_names: names to ask for at once, beside the SSH handshake: most days they resolve to the host, and the
            answer is there by the time the host's facts are.
        on_unserved: called, in a thread, for each of them that resolves and for which no valid certificate was served.

    Attributes:
        latest: the last observation of each name.
    """

    def __init__(
        self, shell: RootShell, early_names: Iterable[str] = (), *, on_unserved: Callable[[], None] | None = None
    ) -> None:
        self.latest: dict[str, EndpointObservation] = {}
        self._shell = shell
        self._early = {fqdn: _EarlyAnswer(fqdn, on_unserved) for fqdn in early_names}
        self._resolved: dict[str, tuple[str, ...]] = {}
        # A firewall between here and the mesh drops packets: every question from here would wait for its time-out.
        self._is_filtered = False

    def observe(
        self,
        host_addresses: Sequence[str],
        endpoints: Mapping[str, Endpoint | None],
        *,
        seconds: float | None = None,
        deadline: float | None = None,
    ) -> dict[str, EndpointObservation]:
        """Ask for every name at all addresses where clients reach it.

        Args:
            host_addresses: those of the host.
            endpoints: by name, where nginx serves it; None for a name that nothing is meant to serve.
            seconds: the time-out of each question from here; None for the usual one.
            deadline: the end of the time for all questions, by the monotonic clock; None for half a minute from now.
        """
        if not endpoints:
            return {}
        now = time.monotonic()
        until = now + _ALL_SECONDS if deadline is None else deadline - _HOST_ASKS_SECONDS
        timeout = tls_client.SECONDS if seconds is None else seconds
        questions = _Questions(tuple(host_addresses), endpoints, timeout, until, now + _EARLY_SECONDS)
        answered = call_all(partial(self._ask_from_here, questions), endpoints, deadline=until, at_once=_AT_ONCE)
        from_here = {fqdn: answered.get(fqdn) or self._unasked(questions, fqdn) for fqdn in endpoints}
        observations = self._ask_host_for_rest(from_here)
        self.latest.update(observations)
        return observations

    def _ask_from_here(self, questions: _Questions, fqdn: str) -> EndpointObservation:
        early = self._take_early_answer(fqdn, questions)
        endpoint = questions.endpoints[fqdn]
        answers = []
        reached = peer(self._shell.c)
        for address in self._addresses(questions, fqdn):
            port, remaining = endpoint.port if endpoint else 0, questions.until - time.monotonic()
            is_ours = address in (reached, *self._resolved[fqdn]) or may_dial(address, questions.host_addresses)
            if early and early.der and (early.address, early.port) == (address, port):
                answers.append(early)
            elif self._is_filtered or remaining <= 0 or not is_ours:
                answers.append(Served(None, address, port, why="no answer"))
            else:
                answers.append(tls_client.ask(address, fqdn, port, timeout=min(questions.timeout, remaining)))
        return EndpointObservation(tuple(answers), self._resolved[fqdn])

    def _unasked(self, questions: _Questions, fqdn: str) -> EndpointObservation:
        """The observation of a name for which the time was too short, or whose look-up hangs."""
        endpoint, addresses = questions.endpoints[fqdn], self._addresses(questions, fqdn)
        answers = [Served(None, address, endpoint.port, why="no answer in time") for address in addresses if endpoint]
        return EndpointObservation(tuple(answers), self._resolved.get(fqdn, ()))

    def _addresses(self, questions: _Questions, fqdn: str) -> tuple[str, ...]:
        endpoint, resolved = questions.endpoints[fqdn], self._resolved.get(fqdn, ())
        if endpoint is None:
            return ()
        return choose_addresses(resolved, questions.host_addresses, endpoint.addresses, peer(self._shell.c))

    def _take_early_answer(self, fqdn: str, questions: _Questions) -> Served | None:
        """The answer that was asked for beside the handshake, at the first observation only; resolves the name."""
        early = self._early.pop(fqdn, None)
        if early is None:
            if fqdn not in self._resolved:
                self._resolved[fqdn] = tls_client.resolve(fqdn)
            return None
        early.join(max(questions.early_until - time.monotonic(), 0))
        self._resolved[fqdn] = resolved = early.resolved
        self._is_filtered |= early.is_alive() and resolved[:1] != () and resolved[0] in questions.host_addresses
        return early.answer

    def _ask_host_for_rest(self, observations: dict[str, EndpointObservation]) -> dict[str, EndpointObservation]:
        """Put the unanswered questions to the root shell, in one round trip."""
        unanswered = [
            (fqdn, answer)
            for fqdn, observation in observations.items()
            for answer in observation.answers
            if not answer.der
        ]
        if not unanswered:
            return observations
        args = [
            word for number, (fqdn, answer) in enumerate(unanswered) for word in (str(number), answer.location, fqdn)
        ]
        (probed,) = self._shell.batch([Request("tls_probe", tuple(args))])
        output = answer_fields.parse_fields(probed.out, self._shell.host)
        by_host: dict[tuple[str, str], Served] = {}
        for number, (fqdn, answer) in enumerate(unanswered):
            leaf = certificate.leaf_of(output.get(str(number)))
            if leaf:
                via_host = Served(leaf.der, answer.address, answer.port, via=self._shell.host)
                by_host[fqdn, answer.address] = via_host
        # Where the host sees what we could not, the host goes on asking for us.
        self._is_filtered |= bool(by_host)
        return {
            fqdn: dataclasses.replace(
                observation,
                answers=tuple(by_host.get((fqdn, answer.address), answer) for answer in observation.answers),
            )
            for fqdn, observation in observations.items()
        }


class _EarlyAnswer(Thread):
    """Resolves a name and asks the first address, while SSH is still shaking hands."""

    def __init__(self, fqdn: str, on_unserved: Callable[[], None] | None) -> None:
        super().__init__(name="early-answer", daemon=True)
        self.fqdn, self._on_unserved = fqdn, on_unserved
        self.resolved: tuple[str, ...] = ()
        self.answer: Served | None = None
        self.start()

    def run(self) -> None:
        self.resolved = tls_client.resolve(self.fqdn)
        if self.resolved:
            self.answer = tls_client.ask(self.resolved[0], self.fqdn)
        certificate.warm_up()
        # Where the name does not resolve here, this machine cannot tell.
        if self._on_unserved and self.resolved and not self._is_served():
            self._on_unserved()

    def _is_served(self) -> bool:
        import ssl

        der = self.answer.der if self.answer else None
        leaf = certificate.leaf_of(ssl.DER_cert_to_PEM_cert(der)) if der else None
        return leaf is not None and self.fqdn in leaf.sans and leaf.not_after > datetime.now(timezone.utc)
