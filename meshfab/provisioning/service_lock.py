"""The lock of a service on its host: operators and the renewal tick share it, and a root shell holds it to its end."""

from __future__ import annotations

import getpass
import re
import socket
from typing import TYPE_CHECKING

from meshfab.errors import LockedError, NotReadyError
from meshfab.ssh.script import ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.service import Service
    from meshfab.ssh.root_shell import RootShell
    from meshfab.ssh.script import Answer

WAIT_SECONDS = 30
# The longest time of a run with a lock; after that its operator has disappeared. More for each further service.
RUN_SECONDS = 240
_SERVICE_SECONDS = 60


def staging(service: Service) -> str:
    """The folder for a new pair: only root can read it, and it is in memory, so that a power cut leaves no key."""
    return f"/run/meshfab/{service.name}.stage"


def take(shell: RootShell, services: Sequence[Service], then: Request, *, since: str = "") -> tuple[bool, Answer]:
    """Take the locks of services, and run one more script in the same round trip.

    When the shell ends, it releases them, and removes the services' password files and staging folders.

    Args:
        shell: the root shell that holds the locks from now on.
        services: the services.
        then: the script to run after that.
        since: the time by the host's clock, for those who wait; empty: the host asks its clock.

    Returns:
        Whether another run had held one of the locks, and the answer of the script.

    Raises:
        LockedError: another run holds a lock and does not release it in time; the message names it.
        NotReadyError: no lock can be taken on this host.
    """
    who = re.sub(r"[^A-Za-z0-9@._-]", "", f"{getpass.getuser()}@{socket.gethostname()}")
    args = [who, since, str(WAIT_SECONDS), str(RUN_SECONDS + _SERVICE_SECONDS * (len(services) - 1))]
    # In one order for all operators, so that two of them cannot deadlock.
    for service in sorted(services, key=lambda service: service.name):
        args += [service.name, service.secret, staging(service)]
    lock = Request("lock", tuple(args), persistent=True)
    answer, *more = shell.batch([lock, then], timeout=WAIT_SECONDS * len(services) + 15)
    if answer.status == ExitStatus.BUSY:
        fqdns = " or ".join(service.fqdn for service in services)
        what = f"{fqdns} is being worked on by {answer.err}"
        raise LockedError(what, host=shell.host, remedy="try again when that has ended")
    if not answer.ok:
        what = f"no lock could be taken: {answer.err}"
        raise NotReadyError(what, host=shell.host, remedy="is /run writable there?")
    return "waited" in answer.text, more[0]
