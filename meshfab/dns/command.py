"""Names by a program of one's own, for every DNS that meshfab does not know: JSON on its stdin, JSON from its stdout.

{"action": "read", "names": ["tea.internal"]}
-> {"records": [{"name": "tea.internal", "addresses": ["10.87.0.12"], "ours": true}]}

{"action": "write", "changes": [{"name": "tea.internal", "before": [], "addresses": ["10.87.0.12"]}]}
-> anything; the exit status counts. Empty addresses remove the record.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from meshfab.dns.record import Record, normal
from meshfab.errors import DnsError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.dns.record import Change

_SECONDS = 60.0
_MAX_ANSWER = 1024 * 1024


class CommandServer:
    """A program that keeps the records.

    Args:
        command: the program and its arguments; run here without a shell.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.location = command[0]
        self._command = list(command)

    def read(self, fqdns: Sequence[str]) -> dict[str, Record]:
        """What the program says of each name."""
        output = self._run({"action": "read", "names": list(fqdns)})
        try:
            answer = json.loads(output)
            records = {str(each["name"]): _record(each) for each in answer["records"]}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"its answer to `read` cannot be used ({type(error).__name__}: {one_line(str(error))[:200]})"
            raise DnsError(what, host=self.location, remedy="docs/how-to/dns.md has the form") from None
        return {fqdn: records.get(fqdn, Record(fqdn)) for fqdn in fqdns}

    def write(self, changes: Sequence[Change]) -> None:
        """Have the program write all changes."""
        listed = [
            {"name": change.fqdn, "before": list(change.before.addresses), "addresses": list(change.addresses)}
            for change in changes
        ]
        self._run({"action": "write", "changes": listed})

    def _run(self, question: dict[str, Any]) -> bytes:
        # Only the program is named in errors: its arguments may be secret.
        try:
            done = subprocess.run(
                self._command, input=json.dumps(question).encode(), capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            what = f"it did not end within {_SECONDS:.0f} s"
        except (OSError, ValueError) as error:
            what = f"it cannot be run ({getattr(error, 'strerror', None) or error})"
        else:
            if done.returncode == 0:
                return done.stdout[:_MAX_ANSWER]
            said = one_line(done.stderr.decode(errors="replace").strip())[:300]
            what = f"it failed with exit status {done.returncode}" + (f": {said}" if said else "")
        raise DnsError(what, host=self.location, remedy="run it by hand; it is meshfab.dns.command")


def _record(each: dict[str, Any]) -> Record:
    return Record(str(each["name"]), normal(each["addresses"]), bool(each.get("ours", False)))
