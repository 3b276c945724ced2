"""The crash matrix of `inv retire`: every fault at every boundary, and what it must never cost.

A cell starts from a service with one earlier pair, strikes, and looks at the host from within: nginx accepts its
configuration, and what is needed to revoke a certificate is there until it is revoked. Then the fault is mended, and
one more run leaves nothing of the service, and no pair that the CA renews.
"""

from __future__ import annotations

import itertools

from lab.services import hosts
from tests.integration import crash
from tests.integration.crash import FAULTS, HOST, NamedCell, Result, left, renews

NAME = "ending"
FQDN = f"{NAME}.internal"
CERT, KEY = (f"/etc/nginx/tls/{kind}/{FQDN}.pem" for kind in ("cert", "key"))
BOUNDARIES = ("lock", "remove_vhost", "disable_timer", "revoke_pair", "mark_revoked", "remove_service")
# The others concern a password, of which a retirement sends none.
STRUCK_BY = ("kill -9", "SIGTERM", "Ctrl-C", "link cut", "sshd killed", "host rebooted", "CA stopped")
PAIR = "/root/ending"


class Cell(NamedCell):
    """One fault at one moment of one boundary."""

    command = "retire"


def cells() -> list[Cell]:
    """Every cell: all faults at all moments of all boundaries."""
    return [Cell(*each) for each in itertools.product(STRUCK_BY, BOUNDARIES, crash.MOMENTS)]


def run_cell(cell: Cell) -> Result:
    """Provision, strike once while it is retired, look, mend, and retire it again."""
    fault, result = FAULTS[cell.fault], Result(cell)
    if (done := crash.inv({}, "provision", "--name", NAME, "--host", HOST)).returncode:
        raise RuntimeError(done.stderr)
    hosts.run(HOST, f"rm -rf {PAIR}; mkdir {PAIR}; cp {CERT} {PAIR}/cert; cp {KEY} {PAIR}/key")
    retire = ["retire", "--name", NAME, "--host", HOST]
    try:
        crash.struck(str(cell), cell.boundary, cell.moment, fault, retire, {})
        result.outages += outages()
        result.mixes += lost()
    finally:
        fault.mend()
    healed = crash.inv({}, *retire)
    if healed.returncode or left(NAME) or renews(PAIR):
        said = healed.stdout + healed.stderr
        result.unhealed.append(f"one more run: {healed.returncode} {said} {left(NAME)} renews: {renews(PAIR)}")
    return result


def outages() -> list[str]:
    """A configuration that nginx refuses, whatever of the service is there."""
    # Twice: a file that is removed in just that moment is listed by nginx, and then not there.
    test = hosts.run(HOST, "nginx -t 2>/dev/null || nginx -t", check=False)
    return [f"nginx -t: {test.stderr}"] if test.returncode else []


def lost() -> list[str]:
    """A pair that is gone while the CA still renews it: nothing could revoke it any more."""
    is_there = hosts.run(HOST, f"test -e {CERT} && test -e {KEY}", check=False).returncode == 0
    return [] if is_there or not renews(PAIR) else ["the pair is gone and not revoked"]
