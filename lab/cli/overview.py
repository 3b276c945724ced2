"""What `lab.status` says."""

from __future__ import annotations

from lab import layout
from lab.cli.progress import say
from lab.errors import LabError
from lab.machine import machine
from lab.machine.process import recorded
from lab.services import ca, dns, hosts


def show() -> None:
    """One line for the lab, the CA, each host and each service name."""
    lab = layout.current()
    if recorded(lab.pids / "keeper") is None:
        raise LabError(f"lab {lab.name} is not up; run: inv lab.up")
    say("lab", f"{lab.name}, {lab.state}")
    answering = "answering" if ca.is_answering(lab) else "not answering"
    say("ca", f"{layout.CA_ADDRESS:<13} {layout.CA_URL} {answering}")
    for host in hosts.names():
        state = "up" if machine.is_up(lab, host) else "down"
        say(host, f"{layout.address(host):<13} {layout.flavour(host):<7} {state}")
    for name, address in sorted(dns.pointed().items()):
        say(name, address)
