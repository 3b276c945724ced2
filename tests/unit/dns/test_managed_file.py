"""Our block in a file of others: what is ours, what is read, and what is written."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.config.settings import Settings
from meshfab.dns import file_form, managed_block
from meshfab.dns.client import DnsAnswer
from meshfab.dns.managed_file import MAX_FILE, FileServer
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Change, Record
from meshfab.errors import DnsError
from meshfab.ssh.script import Answer, ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

NEW = "10.87.0.12"


class Host:
    """A host with one file; every request that it gets is kept."""

    def __init__(self, text: str | None) -> None:
        self.text, self.requests, self.status, self.err = text, [], 0, ""  # type: ignore[var-annotated]

    def batch(self, requests: Sequence[Request]) -> list[Answer]:
        (request,) = requests
        self.requests.append(request)
        if request.script == "read_names":
            out = b"missing\n" if self.text is None else b"there\n" + self.text.encode()
            return [Answer(request.script, self.status, out, self.err)]
        return [Answer(request.script, self.status, b"", self.err)]


def server(host: Host, monkeypatch: pytest.MonkeyPatch, **options: Any) -> FileServer:
    monkeypatch.setattr("meshfab.ssh.session.shell_within", lambda *_words, **_more: nullcontext(host))
    dns = {"kind": "hosts-file", "host": "h1", "file": "/etc/names", **options}
    settings = Settings(mesh_network=("10.87.0.0/16",), dns=dns)
    assert settings.dns_options
    return FileServer(settings.dns_options, settings)


def test_others_lines_stay_and_ours_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    others = "127.0.0.1 localhost # ours is not here\n"
    host = Host(f"{others}# BEGIN meshfab\n10.87.0.9 wine.internal\n10.87.0.8 tea.internal\n# END meshfab\n\n::1 six\n")
    names = server(host, monkeypatch)
    records = names.read(["tea.internal", "milk.internal", "localhost"])
    assert records["tea.internal"] == Record("tea.internal", ("10.87.0.8",), is_ours=True)
    assert records["milk.internal"] == Record("milk.internal")
    assert records["localhost"] == Record("localhost", ("127.0.0.1",))
    names.write([Change(records["tea.internal"], (NEW,)), Change(records["milk.internal"], ("fd87::1", NEW))])
    request = host.requests[-1]
    assert request.args[:2] == ("/etc/names", hashlib.sha256(str(host.text).encode()).hexdigest())
    block = ["10.87.0.12 milk.internal", "10.87.0.12 tea.internal", "10.87.0.9 wine.internal", "fd87::1 milk.internal"]
    lines = "".join(f"{line}\n" for line in block)
    assert request.data == f"{others}{managed_block.BEGIN}\n{lines}{managed_block.END}\n\n::1 six\n"


def test_the_last_record_takes_the_block_along(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("127.0.0.1 localhost\n# BEGIN meshfab\n10.87.0.8 tea.internal\n# END meshfab\n")
    names = server(host, monkeypatch)
    names.write([Change(names.read(["tea.internal"])["tea.internal"], ())])
    assert host.requests[-1].data == "127.0.0.1 localhost\n"


def test_a_file_that_is_not_there_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(None)
    names = server(host, monkeypatch, kind="unbound", ttl=60)
    names.write([Change(names.read(["tea.internal"])["tea.internal"], (NEW,))])
    request = host.requests[-1]
    assert request.args == ("/etc/names", "missing", "unbound-checkconf", "reload_unbound")
    assert 'server:\nlocal-data: "tea.internal. 60 IN A 10.87.0.12"\n' in str(request.data)


def test_the_operators_own_command_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("")
    names = server(host, monkeypatch, reload=["systemctl", "reload", "dnsmasq"])
    names.write([Change(names.read(["tea.internal"])["tea.internal"], (NEW,))])
    assert host.requests[-1].args[3:] == ("", "systemctl", "reload", "dnsmasq")


def test_what_the_server_has_from_elsewhere_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshfab.dns.client.ask", lambda *_: DnsAnswer(("10.87.9.9",), 5))
    names = server(Host(""), monkeypatch, server="10.87.0.1")
    assert names.read(["tea.internal"])["tea.internal"] == Record("tea.internal", ("10.87.9.9",))


def test_a_change_meanwhile_is_told_apart_from_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("")
    names = server(host, monkeypatch)
    change = Change(names.read(["tea.internal"])["tea.internal"], (NEW,))
    host.status = ExitStatus.FILE_CHANGED
    with pytest.raises(ChangedMeanwhileError):
        names.write([change])
    host.status, host.err = 1, "disk full\nand more"
    with pytest.raises(DnsError, match=r"h1:/etc/names: .*disk full and more"):
        names.write([change])


@pytest.mark.parametrize(
    ("status", "text", "what"),
    [
        (ExitStatus.TOO_LONG, "", "longer than 1024 KiB"),
        (0, "x" * (MAX_FILE + 99), "longer than 1024 KiB"),
        (1, "", "cannot be read"),
        (0, "\udcff", "is no text"),
    ],
    ids=["too long", "sends more", "failed", "no text"],
)
def test_a_file_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, status: int, text: str, what: str
) -> None:
    host = SimpleNamespace(
        batch=lambda _: [Answer("read_names", status, b"there\n" + text.encode("utf-8", "surrogateescape"), "")]
    )
    with pytest.raises(DnsError, match=what):
        server(host, monkeypatch).read(["tea.internal"])  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["# BEGIN meshfab\n", "# END meshfab\n# BEGIN meshfab\n", "# END meshfab\n" * 2])
def test_a_damaged_block_is_no_block(text: str) -> None:
    with pytest.raises(DnsError, match="correct the file by hand"):
        managed_block.split(text, "h1:/etc/names")


def test_unbound_lines_are_read_in_the_ways_people_write_them() -> None:
    form = file_form.FORMS["unbound"]
    others = [
        "server:",
        '  local-data: "a.internal. IN A 10.0.0.1"',
        "local-data: 'b.internal AAAA fd00::1' # b",
        'local-data: "c.internal. 60 IN CNAME d.internal."',
        'local-data: "e.internal. TXT x"',
        "local-data-ptr: '10.0.0.9 f.internal'",
    ]
    records = file_form.records(form, [f"{name}.internal" for name in "abcef"], [], others)
    found = {fqdn[0]: record for fqdn, record in records.items()}
    assert found["a"].addresses == ("10.0.0.1",)
    assert found["b"].addresses == ("fd00::1",)
    assert (found["c"].addresses, found["c"].other) == ((), "d.internal.")
    assert found["e"] == Record("e.internal")
    assert found["f"] == Record("f.internal")


@given(st.text(max_size=400), st.sampled_from(sorted(file_form.FORMS)))
def test_any_text_is_read_without_a_traceback_and_others_lines_stay(text: str, kind: str) -> None:
    form = file_form.FORMS[kind]
    try:
        blocked = managed_block.split(text, "h1")
    except DnsError:
        return
    file_form.records(form, ["tea.internal"], blocked.ours, blocked.others)
    again = managed_block.split(blocked.replaced(["10.0.0.1 tea.internal"]), "h1")
    assert again.others == blocked.others
    assert again.ours == ("10.0.0.1 tea.internal",)
