"""The mesh's network: one bridge with the addresses of the operator and the CA, and no route out of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import layout
from lab.machine import namespace_holder
from lab.machine.process import run

if TYPE_CHECKING:
    from lab.layout import Lab

# Without a fixed MAC address, a bridge takes the lowest one of its ports and changes it when a port comes or goes, for
# example the port of a delayed host. For some seconds after a change, hosts with the old address in their neighbour
# table reach neither the CA nor the DNS.
_BRIDGE_MAC = "02:00:00:00:00:01"

# A packet that is dropped here gets no answer at all. Setting the port down would soon give 'no route to host'. ARP is
# not dropped, for the same reason.
_RULES = """
table bridge faults {
    set cut { type ifname; }
    chain input {
        type filter hook input priority 0;
        ether type != arp iifname @cut drop
    }
    chain forward {
        type filter hook forward priority 0;
        ether type != arp iifname @cut drop
        ether type != arp oifname @cut drop
    }
    chain output {
        type filter hook output priority 0;
        ether type != arp oifname @cut drop
    }
}
"""


def start(lab: Lab) -> None:
    """Create the bridge with the addresses of the operator and the CA, and the table of the links that are cut."""
    commands = ["link set lo up", f"link add {layout.BRIDGE} address {_BRIDGE_MAC} type bridge"]
    for address in (layout.OPERATOR_ADDRESS, layout.CA_ADDRESS):
        commands.append(f"address add {address}/{layout.PREFIX_LENGTH} dev {layout.BRIDGE}")
    for address in (layout.OPERATOR_IPV6, layout.CA_IPV6):
        commands.append(f"address add {address}/{layout.IPV6_PREFIX_LENGTH} dev {layout.BRIDGE} nodad")
    commands.append(f"link set {layout.BRIDGE} up")
    run(namespace_holder.nsenter(lab, "ip", "-batch", "-"), stdin="\n".join(commands) + "\n")
    run(namespace_holder.nsenter(lab, "nft", "-f", "-"), stdin=_RULES)
