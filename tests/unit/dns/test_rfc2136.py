"""The update that is sent: its prerequisites, and what each answer means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.query
import dns.rcode
import dns.update
import pytest

from meshfab.config.password import HiddenText
from meshfab.dns.name_server import ChangedMeanwhileError
from meshfab.dns.record import Change, Record
from meshfab.dns.rfc2136 import UpdateServer
from meshfab.dns.tsig_key import TsigKey
from meshfab.errors import DnsError

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

KEY = TsigKey("mesh", "hmac-sha256", HiddenText("c2VjcmV0"))
NEW = "10.87.0.12"

# What dnspython makes of an unsigned answer, as PowerDNS gives it.
UNSIGNED = dns.exception.FormError("response requires a TSIG but does not have one")  # type: ignore[no-untyped-call]


@pytest.fixture
def server() -> UpdateServer:
    return UpdateServer(("10.87.0.1", 53), "internal", 60, KEY)


def sent(mocker: MockerFixture, server: UpdateServer, change: Change, code: Any = dns.rcode.NOERROR) -> str:
    tcp = mocker.patch("dns.query.tcp", return_value=SimpleNamespace(rcode=lambda: code))
    server.write([change])
    message: dns.update.UpdateMessage = tcp.call_args.args[0]
    assert message.keyring is not None
    return "\n".join(line for line in message.to_text().splitlines() if not line.startswith(("id ", "opcode", "rcode")))


def test_a_new_record_is_written_only_where_nothing_is(mocker: MockerFixture, server: UpdateServer) -> None:
    text = sent(mocker, server, Change(Record("tea.internal"), (NEW, "fd87::c")))
    prerequisites, updates = text.partition(";PREREQ")[2].split(";UPDATE")
    for absent in (
        "tea.internal. NONE A\n",
        "tea.internal. NONE AAAA",
        "tea.internal. NONE CNAME",
        "_meshfab.tea.internal. NONE TXT",
    ):
        assert absent in prerequisites
    assert f"tea.internal. 60 IN A {NEW}" in updates
    assert "tea.internal. 60 IN AAAA fd87::c" in updates
    assert '_meshfab.tea.internal. 60 IN TXT "managed by meshfab"' in updates


def test_a_change_requires_what_was_read(mocker: MockerFixture, server: UpdateServer) -> None:
    text = sent(mocker, server, Change(Record("tea.internal", ("10.87.0.9",), is_ours=True), ()))
    prerequisites, updates = text.partition(";PREREQ")[2].split(";UPDATE")
    assert "tea.internal. 0 IN A 10.87.0.9" in prerequisites
    assert '_meshfab.tea.internal. 0 IN TXT "managed by meshfab"' in prerequisites
    assert " 60 IN " not in updates, "a removal adds nothing"
    assert "tea.internal. ANY A" in updates
    assert "_meshfab.tea.internal. ANY TXT" in updates


@pytest.mark.parametrize("code", [dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN])
def test_a_prerequisite_that_fails_is_a_change_meanwhile(
    mocker: MockerFixture, server: UpdateServer, code: Any
) -> None:
    with pytest.raises(ChangedMeanwhileError):
        sent(mocker, server, Change(Record("tea.internal"), (NEW,)), code)


def test_a_refusal_names_the_key_and_what_it_needs(mocker: MockerFixture, server: UpdateServer) -> None:
    with pytest.raises(DnsError, match=r"REFUSED.*may the key mesh write A, AAAA and TXT records in the zone internal"):
        sent(mocker, server, Change(Record("tea.internal"), (NEW,)), dns.rcode.REFUSED)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (dns.exception.Timeout, "no answer within"),
        (ConnectionRefusedError(111, "refused"), "refused"),
        (EOFError(), "EOFError"),
        (dns.tsig.PeerBadKey, "does not accept the TSIG key"),
        (UNSIGNED, "does not accept the TSIG key"),
        (dns.tsig.PeerBadTime, "clocks differ"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(
    mocker: MockerFixture, server: UpdateServer, error: type[Exception] | Exception, what: str
) -> None:
    mocker.patch("dns.query.tcp", side_effect=error)
    with pytest.raises(DnsError, match=rf"10\.87\.0\.1: .*{what}"):
        server.write([Change(Record("tea.internal"), (NEW,))])


def test_a_name_of_another_zone_is_refused(server: UpdateServer) -> None:
    with pytest.raises(DnsError, match=r"tea\.example is not in the zone internal"):
        server.read(["tea.example"])
