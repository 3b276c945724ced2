"""What TLS clients get under a service's name. `provision` and `check-certs` both ask here, so they cannot disagree.

The question is asked from the operator's side. Where that is impossible, the host asks for us.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.host import answer_fields, certificate, tls_client
from meshfab.host.tls_client import Served
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meshfab.nginx.listeners import Endpoint
    from meshfab.ssh.root_shell import RootShell

_AT_ONCE = 8
# How long an early answer that has not come yet may delay a run whose host has answered already.
_EARLY_SECONDS = 1.0


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


class EndpointProbe:
    """Asks for services of one host, again and again if need be.

    Args:
        shell: the root shell that asks where the operator cannot.
        early_names: names to ask for at once, beside the SSH handshake: most days they resolve to the host, and the
            answer is there by the time the host's facts are.

    Attributes:
        latest: the last observation of each name.
    """

    def __init__(self, shell: RootShell, early_names: Iterable[str] = ()) -> None:
        self.latest: dict[str, EndpointObservation] = {}
        self._shell = shell
        self._early = {fqdn: _EarlyAnswer(fqdn) for fqdn in early_names}
        self._resolved: dict[str, tuple[str, ...]] = {}
        # A firewall between here and the mesh drops packets: every question from here would wait for its time-out.
        self._is_filtered = False

    def observe(
        self, host_addresses: Sequence[str], endpoints: Mapping[str, Endpoint | None], *, seconds: float | None = None
    ) -> dict[str, EndpointObservation]:
        """Ask for every name at all addresses where clients reach it.

        Args:
            host_addresses: those of the host.
            endpoints: by name, where nginx serves it; None for a name that nothing is meant to serve.
            seconds: the time-out of each question from here; None for the usual one.
        """
        if not endpoints:
            return {}
        timeout = tls_client.SECONDS if seconds is None else seconds
        ask = partial(self._ask_from_here, tuple(host_addresses), timeout)
        with ThreadPoolExecutor(min(_AT_ONCE, len(endpoints)), thread_name_prefix="endpoint") as pool:
            from_here = dict(zip(endpoints, pool.map(ask, endpoints.items()), strict=True))
        observations = self._ask_host_for_rest(from_here)
        self.latest.update(observations)
        return observations

    def _ask_from_here(
        self, host_addresses: tuple[str, ...], timeout: float, item: tuple[str, Endpoint | None]
    ) -> EndpointObservation:
        fqdn, endpoint = item
        early = self._take_early_answer(fqdn, host_addresses)
        resolved = self._resolved[fqdn]
        if endpoint is None:
            return EndpointObservation((), resolved)
        answers = []
        for address in client_addresses(resolved, host_addresses, endpoint.addresses, self._peer()):
            if early and early.der and (early.address, early.port) == (address, endpoint.port):
                answers.append(early)
            elif self._is_filtered:
                answers.append(Served(None, address, endpoint.port, why="no answer"))
            else:
                answers.append(tls_client.ask(address, fqdn, endpoint.port, timeout=timeout))
        return EndpointObservation(tuple(answers), resolved)

    def _take_early_answer(self, fqdn: str, host_addresses: tuple[str, ...]) -> Served | None:
        """The answer that was asked for beside the handshake, at the first observation only; resolves the name."""
        early = self._early.pop(fqdn, None)
        if early is None:
            if fqdn not in self._resolved:
                self._resolved[fqdn] = tls_client.resolve(fqdn)
            return None
        early.join(_EARLY_SECONDS)
        self._resolved[fqdn] = early.resolved
        self._is_filtered |= early.is_alive() and early.resolved[:1] != () and early.resolved[0] in host_addresses
        return early.answer

    def _peer(self) -> str:
        """The address that SSH reached; empty behind a jump host, where it is not the host's own."""
        c = self._shell.c
        return "" if c.gateway else str(c.transport.getpeername()[0])

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
            word
            for number, (fqdn, answer) in enumerate(unanswered)
            for word in (str(number), _socket(answer.address, answer.port), fqdn)
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

    def __init__(self, fqdn: str) -> None:
        super().__init__(name="early-answer", daemon=True)
        self.fqdn = fqdn
        self.resolved: tuple[str, ...] = ()
        self.answer: Served | None = None
        self.start()

    def run(self) -> None:
        self.resolved = tls_client.resolve(self.fqdn)
        if self.resolved:
            self.answer = tls_client.ask(self.resolved[0], self.fqdn)
        certificate.warm_up()


def client_addresses(
    resolved: Sequence[str], host_addresses: Sequence[str], listen_addresses: Sequence[str], peer: str
) -> tuple[str, ...]:
    """The addresses at which clients reach a service.

    Clients go where the name leads, whatever nginx listens on: every address of the host that the name resolves to.
    Where it leads nowhere or astray, the addresses that nginx listens on for the service alone; else the address that
    SSH reached, else the host's first.

    >>> client_addresses(["10.0.0.9"], ["192.168.1.2", "10.0.0.9"], ["192.168.1.2"], "192.168.1.2")
    ('10.0.0.9',)
    """
    named = tuple(address for address in resolved if address in host_addresses)
    if named or listen_addresses:
        return named or tuple(listen_addresses)
    return (peer if peer in host_addresses else next(iter(host_addresses), peer or "127.0.0.1"),)


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
