"""The rendered vhost, and the header that identifies a managed file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import crossplane
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfab.config.service import Service
from meshfab.errors import InputError
from meshfab.host import resources
from meshfab.nginx import vhost
from tests.support.certificates import SERVICE, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD, NEW = (1, 22, 1), (1, 26, 0)
PROXIED = replace(SERVICE, upstream="http://127.0.0.1:8080")
MTLS = replace(SERVICE, upstream="https://app.internal:8443/base", mtls=True)
MORE_NAMES = Service.of("gongfoo", SETTINGS, sans=["www.gongfoo.internal"])
KINDS = {"plain": SERVICE, "proxied": PROXIED, "mtls": MTLS, "more names": MORE_NAMES}


def directives(text: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    """Every directive with its arguments, parsed with nginx's grammar."""
    path = tmp_path_factory.mktemp("vhost") / "vhost.conf"
    path.write_text(text)
    payload = crossplane.parse(str(path), single=True, check_ctx=False)
    assert payload["errors"] == []
    result = []

    def walk(block: list[dict[str, object]]) -> None:
        for directive in block:
            args = directive["args"]
            assert isinstance(args, list)
            result.append((str(directive["directive"]), *map(str, args)))
            inner = directive.get("block", [])
            assert isinstance(inner, list)
            walk(inner)

    walk(payload["config"][0]["parsed"])
    return result


@pytest.mark.parametrize("service", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("version", [OLD, NEW, ()], ids=["1.22", "1.26", "unknown"])
def test_every_vhost_is_valid_nginx_grammar_and_names_the_pair(
    service: Service, version: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = vhost.render(service, SETTINGS, version)
    parsed = directives(text, tmp_path_factory)
    assert ("ssl_certificate", service.cert) in parsed
    assert ("ssl_certificate_key", service.key) in parsed
    assert ("server_name", *service.names) in parsed
    assert text.endswith("}\n")
    assert "{{" not in text


@pytest.mark.parametrize(
    ("version", "is_directive"),
    [((1, 22, 1), False), ((1, 25, 0), False), ((1, 25, 1), True), ((1, 26, 0), True), ((), False)],
    ids=str,
)
def test_http2_has_the_syntax_of_the_nginx_version(
    version: tuple[int, ...], is_directive: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    parsed = directives(vhost.render(SERVICE, SETTINGS, version), tmp_path_factory)
    assert (("http2", "on") in parsed) is is_directive
    assert (("listen", "443", "ssl", "http2") in parsed) is not is_directive
    assert (("listen", "443", "ssl") in parsed) is is_directive


def test_without_an_upstream_the_answer_names_the_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(SERVICE, SETTINGS, OLD), tmp_path_factory)
    (answer,) = [line for line in parsed if line[0] == "return"]
    assert answer[1] == "200"
    assert SERVICE.fqdn in answer[2]
    assert not [line for line in parsed if line[0] == "proxy_pass"]


def test_an_upstream_gets_the_usual_proxy_headers(tmp_path_factory: pytest.TempPathFactory) -> None:
    parsed = directives(vhost.render(PROXIED, SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_pass", "http://127.0.0.1:8080") in parsed
    headers = {line[1] for line in parsed if line[0] == "proxy_set_header"}
    assert headers >= {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Upgrade", "Connection"}
    assert not [line for line in parsed if line[0].startswith("proxy_ssl")]


def test_with_mtls_the_vhost_sends_the_pair_and_verifies_the_upstream(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    parsed = directives(vhost.render(MTLS, SETTINGS, OLD), tmp_path_factory)
    assert ("proxy_ssl_certificate", MTLS.cert) in parsed
    assert ("proxy_ssl_certificate_key", MTLS.key) in parsed
    assert ("proxy_ssl_trusted_certificate", SETTINGS.root) in parsed
    assert ("proxy_ssl_verify", "on") in parsed
    assert ("proxy_ssl_name", "app.internal") in parsed


def test_two_services_on_a_host_do_not_share_a_variable(tmp_path_factory: pytest.TempPathFactory) -> None:
    maps = []
    for name in ("web-1", "web1", "3d"):
        service = Service.of(name, SETTINGS, upstream="http://127.0.0.1:1")
        parsed = directives(vhost.render(service, SETTINGS, OLD), tmp_path_factory)
        maps += [line[2] for line in parsed if line[0] == "map"]
    assert len(set(maps)) == 3


@pytest.mark.parametrize("service", KINDS.values(), ids=KINDS)
def test_the_header_keeps_the_requested_options(service: Service) -> None:
    header = vhost.read_header(vhost.render(service, SETTINGS, OLD))
    assert header is not None
    assert header.is_untouched
    assert header.requested["upstream"] == service.upstream
    assert header.requested["mtls"] == service.mtls
    assert header.input_digest == vhost.input_digest(service, SETTINGS, OLD)


def test_missing_newlines_at_the_end_are_not_an_edit() -> None:
    header = vhost.read_header(vhost.render(SERVICE, SETTINGS, OLD).rstrip("\n"))
    assert header is not None
    assert header.is_untouched


EDITS: dict[str, Callable[[str], str]] = {
    "a line more": lambda text: f"{text}# mine\n",
    "a word": lambda text: text.replace("location /", "location /api"),
    "a blank": lambda text: text.replace("    listen", "     listen", 1),
    "an empty file below the header": lambda text: text.partition("\n")[0] + "\n",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_is_detected(edit: Callable[[str], str]) -> None:
    header = vhost.read_header(edit(vhost.render(SERVICE, SETTINGS, OLD)))
    assert header is not None
    assert not header.is_untouched


def test_a_file_without_the_header_on_its_first_line_is_unmanaged() -> None:
    text = vhost.render(SERVICE, SETTINGS, OLD)
    assert vhost.read_header("") is None
    assert vhost.read_header(text.partition("\n")[2]) is None
    assert vhost.read_header(f"# before\n{text}") is None
    assert vhost.read_header(text.replace('{"', "{'", 1)) is None


@given(st.text())
def test_read_header_accepts_any_text(text: str) -> None:
    assert vhost.read_header(text) is None
    header = vhost.read_header(f"# Written by meshfab; x {{{text}}} wants={'0' * 16} text={'0' * 16}\n{text}")
    assert header is None or not header.is_untouched


CHANGES = {
    "upstream": (PROXIED, SETTINGS, OLD),
    "names": (MORE_NAMES, SETTINGS, OLD),
    "version": (SERVICE, SETTINGS, NEW),
    "paths": (replace(SERVICE, cert="/srv/x.pem"), SETTINGS, OLD),
}


@pytest.mark.parametrize(("service", "settings", "version"), CHANGES.values(), ids=CHANGES)
def test_every_input_of_the_text_changes_the_input_digest(
    service: Service, settings: object, version: tuple[int, ...]
) -> None:
    assert vhost.input_digest(service, settings, version) != vhost.input_digest(SERVICE, SETTINGS, OLD)  # type: ignore[arg-type]


def test_a_newer_nginx_with_the_same_syntax_keeps_the_input_digest() -> None:
    assert vhost.input_digest(SERVICE, SETTINGS, (1, 22, 1)) == vhost.input_digest(SERVICE, SETTINGS, (1, 24, 0))


def test_the_shipped_templates_are_found() -> None:
    names = {path.name for path in resources.folder("nginx-snippets").iterdir()}
    assert names == {"tls.conf.j2", "vhost.conf.j2", "proxy.conf.j2", "mtls.conf.j2"}


def test_an_undefined_variable_in_a_template_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jinja2 import UndefinedError

    operator_folder = tmp_path_factory.mktemp("snippets")
    for path in resources.folder("nginx-snippets").iterdir():
        (operator_folder / path.name).write_text(path.read_text())
    (operator_folder / "tls.conf.j2").write_text("ssl_certificate {{ certt }};\n")
    monkeypatch.setattr(resources, "folder", lambda _name: operator_folder)
    with pytest.raises(UndefinedError, match="certt"):
        vhost.render(SERVICE, SETTINGS, OLD)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ names.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
    ],
)
def test_a_template_runs_no_code_and_its_error_is_one_line(tmp_path: Path, template: str) -> None:
    (tmp_path / "tls.conf.j2").write_text(f"{template}\n")
    with pytest.raises(InputError, match=r"the template vhost\.conf\.j2 cannot be rendered") as caught:
        vhost.render(SERVICE, replace(SETTINGS, snippets=str(tmp_path)), OLD)
    assert "\n" not in str(caught.value)
