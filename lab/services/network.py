"""The mesh: one bridge, the operator's and the CA's addresses on it, and no way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import layout
from lab.machine import namespace_holder
from lab.machine.process import run

if TYPE_CHECKING:
    from lab.layout import Lab

# A bridge that is left to choose takes the lowest of its ports', and another one when a port comes or goes, such as a
# long line's. Hosts that remember the old one then reach neither CA nor DNS for some seconds.
_BRIDGE_MAC = "02:00:00:00:00:01"

# Dropped here, a packet is answered by nobody: silence, where a port that is set down would soon
# say 'no route to host'. Address resolution is let through for the same reason.
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
    """Lay the bridge and its two addresses, and the tables that `faults` fills."""
    addresses = [layout.OPERATOR_ADDRESS, layout.CA_ADDRESS]
    commands = ["link set lo up", f"link add {layout.BRIDGE} address {_BRIDGE_MAC} type bridge"]
    commands += [f"address add {one}/{layout.PREFIX_LENGTH} dev {layout.BRIDGE}" for one in addresses]
    commands.append(f"link set {layout.BRIDGE} up")
    run(namespace_holder.inside(lab, "ip", "-batch", "-"), stdin="\n".join(commands) + "\n")
    run(namespace_holder.inside(lab, "nft", "-f", "-"), stdin=_RULES)
