"""An operator's command that stops at one boundary of its remote commands, for a fault to strike there.

Usage: crash_operator.py BOUNDARY MOMENT inv-arguments…; BOUNDARY counts the run's round trips from 1, or names a
script, MOMENT is
`before` (nothing sent yet), `during` (sent, not waited for), `amid` (a while later: the password lies there, and `step`
is at work) or `after` (answered). It prints AT and the scripts' names there; before and after it waits for a line, else
it goes on at once.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from typing import TYPE_CHECKING, Any

from invoke.program import Program

from lab.machine.process import wait_until
from lab.services import hosts
from meshfab.provisioning import forced_renewal, host_run, password_transfer, retirement, service_lock
from meshfab.ssh import connection, root_shell
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.shell_channel import ShellChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.ssh.script import Answer, Request

# What takes minutes in the field takes seconds here; the order of things stays the same.
password_transfer.REAPER_SECONDS = 6
connection.CONNECT_SECONDS = 3
service_lock.RUN_SECONDS = 20
# Where the script runs no `step` that could be waited for.
_AMID_SECONDS = 0.12


class Struck(RootShell):
    """The run's own root shell, with the stop built in; shells that clean up later are not stopped."""

    first: Struck | None = None
    boundary, moment = sys.argv[1], sys.argv[2]

    def __init__(self, c: Any, *, timeout: float = 8.0) -> None:
        super().__init__(c, timeout=timeout)
        Struck.first = Struck.first or self
        self.trips = 0
        self.names = ""

    def _batch(self, requests: Sequence[Request], deadline: float) -> list[Answer]:
        self.trips += 1
        StoppingChannel.shell = self
        self.names = "+".join(request.script for request in requests)
        self.stop_at("before")
        answers = super()._batch(requests, deadline)
        self.stop_at("after")
        return answers

    def stop_at(self, moment: str) -> None:
        is_counted = self is Struck.first and Struck.boundary == str(self.trips)
        # A script's name is enough: a move has a shell on each host, and both lock, so no cell is named after that.
        is_named = Struck.boundary in self.names.split("+") and (self is Struck.first or Struck.boundary != "lock")
        if (is_counted or is_named) and moment == Struck.moment:
            Struck.boundary = ""
            if moment == "amid":
                self._wait_until_amid()
            print("AT", self.names, flush=True)
            if moment in ("before", "after"):
                sys.stdin.readline()

    def _wait_until_amid(self) -> None:
        if "mint" not in self.names and "renew" not in self.names:
            time.sleep(_AMID_SECONDS)
            return

        def is_stepping() -> bool:
            # An answer: `step` was done before anybody looked.
            return (
                bool(hosts.run(self.host, "pgrep -x step", check=False).stdout)
                or self._open_channel._channel.recv_ready()
            )

        wait_until(is_stepping, "step to be at work", 60)


class StoppingChannel(ShellChannel):
    """The channel of the shell that runs a batch."""

    shell: Struck | None = None

    def receive_out(self, deadline: float) -> tuple[bytes, str]:
        # A look that only reads has a shell of another kind.
        if self.shell and self.shell._channel is self:
            self.shell.stop_at("during")
            self.shell.stop_at("amid")
        return super().receive_out(deadline)


if __name__ == "__main__":
    # Where a run that does not end is stuck.
    faulthandler.dump_traceback_later(80)
    for module in (host_run, password_transfer, forced_renewal, retirement):
        vars(module)["RootShell"] = Struck
    vars(root_shell)["ShellChannel"] = StoppingChannel
    Program(version="0").run(["inv", *sys.argv[3:]])
