"""The crash matrix of `inv move`: faults at the boundaries of both hosts, and what they must never cost.

A cell starts from a service that one host serves, with its name led to the other one already, strikes, and looks at
both: nginx accepts its configuration, at least one of them serves a valid certificate, and no password is left. Then
the fault is mended, and one more run completes the move: nothing is left on the old host, and no pair of it renews.
"""

from __future__ import annotations

import itertools

from lab import layout
from lab.services import dns, hosts
from tests.integration import crash
from tests.integration.crash import FAULTS, HOST, NamedCell, Result, left, renews

NAME, TARGET = "moving", "h3"
FQDN = f"{NAME}.internal"
CERT, KEY = (f"/etc/nginx/tls/{kind}/{FQDN}.pem" for kind in ("cert", "key"))
# On the new host, then on the old one.
BOUNDARIES = ("mint", "commit", "install_config", "remove_vhost", "disable_timer", "revoke_pair", "remove_service")
# Those of the old host, and of the operator. The others concern the disk of a host, as in `provision`.
STRUCK_BY = ("kill -9", "SIGTERM", "Ctrl-C", "link cut", "sshd killed", "host rebooted", "CA stopped")
PAIR = "/root/moving"


class Cell(NamedCell):
    """One fault at one moment of one boundary."""

    command = "move"


def cells() -> list[Cell]:
    """Every cell: all faults at all moments of all boundaries."""
    return [Cell(*each) for each in itertools.product(STRUCK_BY, BOUNDARIES, crash.MOMENTS)]


def run_cell(cell: Cell) -> Result:
    """Provision on the old host, strike once during the move, look, mend, and move again."""
    fault, result = FAULTS[cell.fault], Result(cell)
    dns.point(NAME, HOST)
    if (done := crash.inv({}, "provision", "--name", NAME, "--host", HOST)).returncode:
        raise RuntimeError(done.stderr)
    hosts.run(HOST, f"rm -rf {PAIR}; mkdir {PAIR}; cp {CERT} {PAIR}/cert; cp {KEY} {PAIR}/key")
    dns.point(NAME, TARGET)
    move = ["move", "--name", NAME, "--from", HOST, "--to", TARGET]
    # It would wait for the old host to see the new address, and its link is cut until the run has ended.
    no_wait = ["--no-wait"] if cell.fault == "link cut" and cell.boundary in BOUNDARIES[:3] else []
    try:
        said = crash.struck(str(cell), cell.boundary, cell.moment, fault, [*move, *no_wait], {})
        result.leaks += crash.leaks(fault.at_once, said, TARGET)
        result.outages += outages()
    finally:
        fault.mend()
    moved = crash.inv({}, *move)
    if moved.returncode or left(NAME) or renews(PAIR) or not is_served(TARGET):
        said = moved.stdout + moved.stderr
        result.unhealed.append(f"one more run: {moved.returncode} {said} {left(NAME)} renews: {renews(PAIR)}")
    crash.inv({}, "retire", "--name", NAME, "--host", TARGET, "--no-revoke")
    return result


def outages() -> list[str]:
    """A configuration that nginx refuses, or no host that serves a valid certificate."""
    tests = {host: hosts.run(host, "nginx -t 2>/dev/null || nginx -t", check=False) for host in (HOST, TARGET)}
    faults = [f"nginx -t on {host}: {test.stderr}" for host, test in tests.items() if test.returncode]
    return faults if is_served(HOST) or is_served(TARGET) else [*faults, "no host serves it"]


def is_served(host: str) -> bool:
    """Whether a client on the host gets a valid certificate for the name there."""
    ask = f"openssl s_client -connect 127.0.0.1:443 -servername {FQDN} -verify_hostname {FQDN} -verify_return_error"
    return hosts.run(host, f"{ask} -CAfile {layout.ROOT_ON_HOST} </dev/null", check=False).returncode == 0
