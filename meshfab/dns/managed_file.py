"""Names in a file on a host: a block of ours in a hosts file or an include of unbound, over the same strict SSH."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from meshfab.dns import client, file_form, managed_block
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Record
from meshfab.errors import DnsError, one_line
from meshfab.ssh import session
from meshfab.ssh.script import ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.dns_options import DnsOptions
    from meshfab.config.settings import Settings
    from meshfab.dns.record import Change
    from meshfab.ssh.script import Answer

# A list of names against advertisements has some megabytes; it belongs in a file of its own.
MAX_FILE = 1024 * 1024
_MISSING = "missing"
# More than the line that says whether the file is there.
_HEAD = 16


class FileServer:
    """A file of names on a host.

    Args:
        options: the setting `dns`.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration to carry on.
    """

    def __init__(self, options: DnsOptions, settings: Settings, config: Any = None) -> None:
        self.location = f"{options.host}:{options.file}"
        self._options, self._settings, self._config = options, settings, config
        self._form = file_form.FORMS[options.kind]
        self._digest = _MISSING
        self._text = managed_block.split("", self.location)

    def read(self, fqdns: Sequence[str]) -> dict[str, Record]:
        """What the file has of each name."""
        answer = self._run(Request("read_names", (self._options.file, str(MAX_FILE))))
        # Twice: the host may send more than it was asked for.
        if answer.status == ExitStatus.TOO_LONG or len(answer.out) > MAX_FILE + _HEAD:
            what = f"the file is longer than {MAX_FILE // 1024} KiB"
            raise DnsError(what, host=self.location, remedy="have the server read one more file, and name that one")
        # The first line says whether the file is there.
        head, _, content = answer.out.partition(b"\n")
        if not answer.ok or head not in (b"there", b"missing"):
            raise self._failed(answer, "be read")
        self._digest = hashlib.sha256(content).hexdigest() if head == b"there" else _MISSING
        try:
            self._text = managed_block.split(content.decode(), self.location)
        except UnicodeDecodeError:
            raise DnsError("the file is no text", host=self.location, remedy="is it the right one?") from None
        records = file_form.records(self._form, fqdns, self._text.ours, self._text.others)
        return {fqdn: self._known(record) for fqdn, record in records.items()}

    def _known(self, record: Record) -> Record:
        """What the file has; else what the server has from elsewhere, which is not ours."""
        if record.addresses or record.other or self._options.server is None:
            return record
        answer = client.ask(self._options.server, record.fqdn)
        return Record(record.fqdn, answer.addresses, other=answer.other)

    def write(self, changes: Sequence[Change]) -> None:
        """Replace the file with one that has the changes in our block, have it checked, and load it."""
        changed = {change.fqdn for change in changes}
        lines = []
        for line in self._text.ours:
            names = {name for name, _ in self._form.entries(line)}
            if names and not names & changed:
                lines.append(line)
        for change in changes:
            lines += self._form.lines(change.fqdn, change.addresses, self._options.ttl)
        text = self._text.replaced([*self._form.head, *sorted(lines)] if lines else [])
        options = self._options
        loader = ("" if options.reload else self._form.reload, *options.reload)
        args = (options.file, self._digest, self._form.check, *loader)
        answer = self._run(Request("replace_names", args, text))
        if answer.status == ExitStatus.FILE_CHANGED:
            raise ChangedMeanwhileError
        if not answer.ok:
            raise self._failed(answer, "be written or loaded; what was there before is back")

    def _run(self, request: Request) -> Answer:
        with session.shell_within(self._options.host, self._settings, self._config, session.HOST_SECONDS) as shell:
            return shell.batch([request])[0]

    def _failed(self, answer: Answer, verb: str) -> DnsError:
        why = one_line(answer.err)[:300] or f"exit status {answer.status}"
        remedy = "repair what it names; meshfab.dns.reload is the command that loads it"
        return DnsError(f"the file of names cannot {verb}: {why}", host=self.location, remedy=remedy)
