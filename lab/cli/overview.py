"""The output of `lab.status`."""

from __future__ import annotations

from lab import layout
from lab.cli.progress import print_line
from lab.errors import LabError
from lab.machine import machine, namespace_holder
from lab.services import ca, dns, hosts


def show() -> None:
    """Print one line for the lab, for the CA, for each host and for each service name."""
    lab = layout.current()
    if namespace_holder.find_pid(lab) is None:
        raise LabError(f"lab {lab.name} is not up; run: inv lab.up")
    print_line("lab", f"{lab.name}, {lab.state}")
    answering = "answering" if ca.is_answering(lab) else "not answering"
    print_line("ca", f"{layout.CA_ADDRESS:<13} {layout.CA_URL} {answering}")
    for host, platform in hosts.platforms_by_host().items():
        state = "up" if machine.is_up(lab, host) else "down"
        print_line(host, f"{hosts.address(host):<13} {layout.flavour(host):<7} {platform!s:<8} {state}")
    for fqdn, address in sorted(dns.service_addresses().items()):
        print_line(fqdn, address)
