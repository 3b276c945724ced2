"""Every parser of what a host prints takes anything: within bounds of CPU time and memory, with the errors it names."""

from __future__ import annotations

import base64
import contextlib
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from meshfab.checks import ca_checks, preconditions, service_checks
from meshfab.errors import ConnectError
from meshfab.host import answer_fields, certificate, certificate_chain, discovery, facts
from meshfab.host.nginx_config import NginxConfig
from meshfab.host.nginx_grammar import ServerBlocks
from meshfab.nginx import config_dump, listeners, server_blocks, vhost
from meshfab.ssh.script import Answer
from tests.support.certificates import NOW, SERVICE, SETTINGS, authority, good_pair
from tests.support.fake_host import Host, acl, encoded
from tests.support.judged_host import cheap, fields, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 500
PROFILE = settings(max_examples=12, deadline=None)


def texts_of(*words: str) -> st.SearchStrategy[str]:
    """Words of a format and any text, each of them once or thousands of times."""
    piece = st.tuples(st.sampled_from(words) | st.text(max_size=10), st.sampled_from([1, 1, 1, 2, 60, MANY]))
    return st.lists(piece, max_size=12).map(lambda pieces: "".join(word * number for word, number in pieces))


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """The block takes little CPU time and memory: an example has at most some hundred kilobytes."""
    tracemalloc.start()
    try:
        with cheap():
            yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * 1024 * 1024


NGINX = texts_of(
    "# configuration file /etc/nginx/a.conf:\n",
    "\n# configuration file /etc/nginx/b.conf:\n",
    "server {",
    "{",
    "}",
    ";",
    "\n",
    " ",
    '"',
    "\\",
    "#",
    "listen",
    " 443 ssl",
    " [::1%x]:99999",
    "server_name ",
    SERVICE.fqdn,
    "ssl_certificate",
    f" {SERVICE.cert}",
    "include ",
    "a.conf",
    "[*",
    "http {",
    "content_by_lua_block {",
    "user ",
    "error_log /",
    'conflicting server name "',
)


@given(NGINX)
@PROFILE
def test_nginxs_configuration(text: str) -> None:
    state = replace(Host().state(), nginx_conf=f"# configuration file /etc/nginx/a.conf:\n{text}")
    questions: list[Callable[[], object]] = [
        lambda: server_blocks.find(state, SERVICE),
        lambda: listeners.listener(state, 443),
        lambda: server_blocks.stream_listens(state),
        lambda: state.nginx.would_include("/etc/nginx/conf.d/a.conf"),
        lambda: state.nginx.words_before(SERVICE.cert),
        lambda: config_dump.conflicts(state, SERVICE),
        lambda: config_dump.is_port_free(state, 443),
        lambda: config_dump.error_log(state),
        lambda: config_dump.error_line(text),
        lambda: config_dump.is_about(text, SERVICE),
    ]
    with bounded():
        for question in questions:
            with contextlib.suppress(ConnectError):
                question()


@given(NGINX)
@PROFILE
def test_the_server_blocks_of_a_file_are_of_that_file(text: str) -> None:
    config = NginxConfig(f"# configuration file /etc/nginx/c.conf:\n{text}", "h2")
    with bounded(), contextlib.suppress(ConnectError):
        assert all(block.file in config.files for block in ServerBlocks(config).named(SERVICE.fqdn))


ROWS = texts_of(
    "\n", "\n\n", "|", "=", ":", "Id=step@tea.timer", "ActiveState=", "/etc/a", "644", "tea ", "10.0.0.1", "%"
)
KEYS = ["now", "addresses", "tools", "root", "nginx.conf", "digests", "stats", "units", "found", "vhosted", "secrets"]
KEYS += [
    "own",
    "resolved",
    "keys",
    "texts",
    "tea/cert",
    "tea/acl",
    "tea/public",
    "tea/failed",
    "tea/vhost:/a",
    "x" * 600,
]


@given(st.dictionaries(st.sampled_from(KEYS), ROWS, max_size=6), st.binary(max_size=20))
@PROFILE
def test_a_probe_and_a_discovery(values: dict[str, str], tail: bytes) -> None:
    answer = Answer("script", 0, encoded({"now": "1795456468", **values}) + tail, "")
    with bounded():
        with contextlib.suppress(ConnectError):
            facts.parse(answer, "h2", SETTINGS, [SERVICE])
        with contextlib.suppress(ConnectError):
            discovery.parse(answer, "h2", SETTINGS, [SERVICE])
        judge(answer.out, [SERVICE])


@given(
    st.lists(st.tuples(st.sampled_from(["keys", "texts", "a"]), texts_of("a /f", "\n", "/f:", " ", ":")), max_size=4)
)
@PROFILE
def test_fields(values: list[tuple[str, str]]) -> None:
    out = b"".join(fields({key: text.encode()}) for key, text in values)
    with bounded(), contextlib.suppress(ConnectError):
        answer_fields.parse_fields(out, "h2")


@given(texts_of(acl(), "user:nginx:r--", ":", "\n", "mask::", " "))
@PROFILE
def test_an_acl(text: str) -> None:
    with bounded():
        assert len(service_checks.key_acl_right(text, "nginx")) <= len(text) + 3


@given(st.integers(0, 5000), st.binary(max_size=40), st.sampled_from(["leaf", "issuer", "root", "key"]))
@settings(PROFILE, max_examples=80)
def test_a_certificate_with_other_bytes(at: int, other: bytes, which: str) -> None:
    """Bytes of a certificate or key are replaced: it is read, or refused with a ValueError."""
    pair, root = good_pair(), authority().root_pem
    blocks = [
        *pair.pem.split("-----END CERTIFICATE-----\n")[:2],
        root.split("-----END")[0],
        pair.public.split("-----END")[0],
    ]
    number = ["leaf", "issuer", "root", "key"].index(which)
    head, _, body = blocks[number].partition("-----\n")
    der = bytearray(base64.b64decode(body))
    start = at % len(der)
    der[start : start + len(other)] = other
    blocks[number] = f"{head}-----\n{base64.encodebytes(bytes(der)).decode()}"
    leaf_pem, issuer_pem, root_pem = (f"{block}-----END CERTIFICATE-----\n" for block in blocks[:3])
    with bounded():
        leaf = certificate.leaf_of(leaf_pem + issuer_pem)
        if leaf:
            assert isinstance(certificate_chain.chain_fault(leaf, root_pem, NOW), str)
            assert certificate.is_key_of(leaf, f"{blocks[3]}-----END PUBLIC KEY-----\n") in (True, False)


@given(texts_of("# Written by meshfab; ", "{", "}", '"listen": [', "[", " wants=", "0" * 16, " text=", "\n"))
@PROFILE
def test_the_header_of_a_vhost(text: str) -> None:
    with bounded():
        vhost.read_header(text)
        vhost.diff("/a", text, vhost.render(SERVICE, SETTINGS, (1, 22, 1)))


CA = texts_of(
    "HTTP/2 200\r\n", "date: ", "Mon, 23 Nov 2026 12:00:00 GMT", "\n\n", "{", '{"provisioners": [', "[", "]}", '"', "9"
)
CA_KEYS = ["ca.health", "ca.roots", "ca.provisioners", "ca.asked", "ca.trusted"]


@given(st.dictionaries(st.sampled_from(CA_KEYS), CA), ROWS)
@PROFILE
def test_what_doctor_reads(values: dict[str, str], rows: str) -> None:
    with bounded():
        list(ca_checks.check_ca({"ca.roots": "HTTP/2 200", **values}, authority().root_pem, SETTINGS))
        list(preconditions.check_folders(rows))
        preconditions.check_systemd(rows, runs=True)
        ca_checks.seconds(rows)
