"""Whatever bytes a host answers, the outcome is a report or one line: never a traceback."""

from __future__ import annotations

import pickle
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshfab.checks import ca_checks, evaluate, preconditions
from meshfab.checks.report import HostReport
from meshfab.config.service import Service
from meshfab.errors import ConnectError
from meshfab.host import discovery
from meshfab.host.answer_fields import parse_fields
from meshfab.ssh.script import Answer, Request
from tests.support.certificates import NOW, SETTINGS
from tests.support.discovered_host import TEA, observation, pair, root

ASKED = (NOW, NOW + timedelta(seconds=1))
_KEYS = [
    "now", "own", "found", "vhosted", "secrets", "resolved", "addresses", "tools", "root", "nginx.conf", "digests",
    "stats", "units", "tea/cert", "tea/public", "tea/acl", "tea/staged", "tea/secret", "tea/failed", "web-1/cert",
    "web-1/public", "own.pair/cert", "own.pair/public",
    "keys", "texts",
]  # fmt: skip
# What a host would say, so that the mixtures get past the first check of each kind.
_LIKELY = [
    str(int(NOW.timestamp())), "h2.internal", "tea\nweb-1", pair("tea.internal").pem, pair("tea.internal").public,
    root().pem, "tea 10.0.0.2\ntea ::1", "Id=step@tea.timer\nUnitFileState=enabled\nActiveState=active\nResult=success",
    f"{TEA.key}|regular file|root:root|644", "user::rw-\nuser:nginx:r--\nmask::r--", "/tmp/a-provisioner\n/tmp/b",
    f"# configuration file /etc/nginx/nginx.conf:\nserver {{ listen 443 ssl; ssl_certificate {TEA.cert}; }}", "yes",
    "tea/cert /a.pem\nroot /b.pem", "/a.pem:x\n/b.pem:\n/a.pem:y:z\nno path",
]  # fmt: skip
_values = st.one_of(
    st.sampled_from(_LIKELY).map(str.encode), st.binary(max_size=200), st.text(max_size=80).map(str.encode)
)
_answers = st.lists(st.tuples(st.sampled_from(_KEYS), _values), max_size=20)


def answer(records: list[tuple[str, bytes]]) -> bytes:
    return b"".join(b"%s %d\n%s\n" % (key.encode(), len(value), value) for key, value in records)


def told(out: bytes) -> HostReport | None:
    """What becomes of an answer: a report, or None for the one error that there may be."""
    try:
        seen = discovery.parse(Answer("discover", 0, out, ""), "h2", SETTINGS, [TEA])
    except ConnectError as error:
        assert "\n" not in str(error)
        return None
    return HostReport("h2", evaluate.evaluate_host(seen, {"tea.internal": observation()}, SETTINGS, ASKED))


@given(out=st.one_of(st.binary(max_size=2000), _answers.map(answer)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_make_findings_or_one_error(out: bytes) -> None:
    told(out)


@given(records=_answers)
@settings(max_examples=200, deadline=None)
def test_whatever_else_it_says_a_host_that_knows_the_time_is_judged(records: list[tuple[str, bytes]]) -> None:
    now = [("now", str(int(NOW.timestamp())).encode())]
    report = told(answer([*(one for one in records if one[0] != "now"), *now]))
    assert report is not None
    # The declared service is there, and every word of a host's is one line of what an operator reads.
    assert report.certificates[0].name == "tea"
    assert all("\n" not in str(finding) for one in report.certificates for finding in one.findings)
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301  # our own, of a moment ago


@given(out=st.binary(max_size=3000), at=st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_an_answer_that_is_cut_or_damaged_anywhere_is_survived(out: bytes, at: int) -> None:
    whole = answer(
        [("now", str(int(NOW.timestamp())).encode()), *zip(_KEYS[1:], map(str.encode, _LIKELY), strict=False)]
    )
    told(whole[:at])
    told(whole[:at] + out + whole[at:])


@given(
    said=st.dictionaries(
        st.sampled_from(["ca.health", "ca.roots", "ca.trusted", "ca.asked", "ca.provisioners", "folders", "users"]),
        st.one_of(
            st.text(max_size=60),
            st.sampled_from(
                [
                    "0 ok",
                    "1795456468 1795456468",
                    'HTTP/1.0 200 OK\n\n{"provisioners":[{"name":1,"claims":7}]}',
                    f"HTTP/1.0 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n\r\n{root().pem}",
                    "/a|/a|9|-|yes",
                    'HTTP/1.0 200 OK\n\n{"provisioners":[{"name":"lair","type":"JWK",'
                    '"claims":{"maxTLSCertDuration":[]}}]}',
                ]
            ),
        ),
    ),
    own=st.text(max_size=200) | st.just(root().pem),
)
@settings(max_examples=300, deadline=None)
def test_a_ca_and_a_host_may_say_anything_to_doctor(said: dict[str, str], own: str) -> None:
    found = [*ca_checks.check_ca(said, own, SETTINGS), *preconditions.check_folders(said.get("folders", ""))]
    assert all(one.status in ("ok", "warning", "critical", "unknown") for one in found)


def test_declared_services_come_first_and_found_names_must_be_names() -> None:
    records = [("now", b"1795456468"), ("found", "web-1 tea -x x- UPPER ../../etc a.b ünder ".encode())]
    seen = discovery.parse(Answer("discover", 0, answer(records), ""), "h2", SETTINGS, [TEA])
    assert [service.name for service in seen.services] == ["tea", "web-1"]
    assert seen.declared == {"tea"}


def timer(name: str, enabled: str, active: str) -> str:
    return f"Id=step@{name}.timer\nLoadState=loaded\nUnitFileState={enabled}\nActiveState={active}\n"


def test_what_lies_there_and_is_not_declared_is_a_sentence_each() -> None:
    units = [timer("tea", "enabled", "active"), timer("a", "enabled", "inactive"), timer("b", "disabled", "active")]
    records = [
        ("now", "1795456468"),
        ("own", "h2.internal"),
        ("found", "a b c d e tea"),
        ("vhosted", "c tea a"),
        ("d/cert", "whatever it is"),
        ("tea/cert", "x"),
        ("own.pair/cert", "x"),
        ("units", "\n".join([*units, timer("e", "disabled", "inactive")])),
    ]
    out = answer([(key, value.encode()) for key, value in records])
    seen = discovery.parse(Answer("discover", 0, out, ""), "h2", SETTINGS, [TEA])
    what = {
        "a": "a timer, a place in nginx's configuration",
        "b": "a timer",
        "c": "a place in nginx's configuration",
        "d": "a pair",
    }
    assert discovery.undeclared(seen) == tuple(
        f"orphan: {name}.internal has {parts} here and is not declared; it is left unchanged"
        for name, parts in what.items()
    )


def claiming(number: int, declared: int = 0) -> discovery.Discovery:
    names = b" ".join(b"n%d" % index for index in range(number))
    paths = b"\n".join(b"/tmp/n%d-provisioner" % index for index in range(50))
    out = answer([("now", b"1795456468"), ("found", names), ("secrets", paths)])
    services = [Service.of(f"n{index}", SETTINGS) for index in range(declared)]
    return discovery.parse(Answer("discover", 0, out, ""), "h2", SETTINGS, services)


def test_a_host_that_claims_services_without_end_is_given_up_in_one_line() -> None:
    with pytest.raises(ConnectError, match="more than 200 services that are not declared for it"):
        claiming(5000)


def test_paths_without_end_are_cut_off() -> None:
    seen = claiming(200)
    assert (len(seen.services), len(seen.secrets), seen.left_out) == (200, 20, 30)


def test_declared_services_are_not_counted() -> None:
    assert len(claiming(300, declared=200).services) == 300


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("/tmp/tea-provisioner", 1),
        ("/tmp/.meshfab-0123456789abcdef", 1),
        ("/tmp/.meshfab-x\n.ssh\n-provisioner", 0),
        ("/tmp/a b-provisioner", 0),
        ("/tmp/x;reboot -provisioner", 0),
        ("/tmp/../etc/shadow-provisioner", 0),
        ("/tmp/.tea-provisioner", 0),
        ("/tmp/-provisioner", 0),
        ("/tmp/Tea-provisioner", 0),
        ("/tmp/.meshfab-0123456789abcde", 0),
        ("/tmp/.meshfab-0123456789abcdeg", 0),
        (".ssh", 0),
        ("/tmp/tea-provisioner\x0b/tmp/ale-provisioner", 0),
        (f"/tmp/{'a' * 64}-provisioner", 0),
    ],
)
def test_only_a_path_of_the_exact_form_is_a_password_that_was_left(said: str, taken: int) -> None:
    out = answer([("now", b"1795456468"), ("secrets", said.encode())])
    assert len(discovery.parse(Answer("discover", 0, out, ""), "h2", SETTINGS, []).secrets) == taken


def test_the_request_is_one_script_with_the_functions_of_the_probe() -> None:
    request = discovery.request(SETTINGS, [TEA, Service.of("web-1", SETTINGS)])
    assert request.script == "facts+discover"
    assert request.args[:6] == (SETTINGS.root, "", "internal", SETTINGS.cert_dir, SETTINGS.key_dir, "judge")
    assert (len(request.args) - 8) % 6 == 0
    assert request.args[6:8] == ("/etc/pki/tls/misc/{hostname}.pem", "/etc/pki/tls/private/{hostname}.pem")
    body = Request("facts+discover", request.args).body()
    assert body.index("put found") < body.rindex("put_nginx_and_units")


@pytest.mark.parametrize("text", ["", "n/a", "Mon 2026-11-23 17:45:00 CET", "infinity", "Mon 2026-13-40 99:99:99 UTC"])
def test_a_time_that_systemd_does_not_say_in_utc_is_none(text: str) -> None:
    assert discovery.elapse(text) is None


def test_fields_are_those_of_the_probe() -> None:
    assert parse_fields(answer([("own", b"h2\nx"), ("found", b"")]), "h2") == {"own": "h2\nx", "found": ""}
