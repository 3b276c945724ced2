"""Server blocks and vhost paths in nginx's live configuration, and its error messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshfab.nginx import activation, config_dump, layout, server_blocks
from meshfab.nginx.layout import VhostPath
from meshfab.ssh.script import Answer, ExitStatus
from tests.support.certificates import SERVICE, SETTINGS
from tests.support.fake_host import DEBIAN_CONF, NGINX_CONF, Host

MAIN = "/etc/nginx/nginx.conf"
PAIR = f"ssl_certificate {SERVICE.cert}; ssl_certificate_key {SERVICE.key};"


def servers(**files: str) -> list[server_blocks.Server]:
    """The servers for the service's name; the keys are paths below /etc/nginx, with __ instead of /."""
    conf = {MAIN: NGINX_CONF, **{f"/etc/nginx/{name.replace('__', '/')}": text for name, text in files.items()}}
    return server_blocks.find(Host(conf=conf).state(), SERVICE)


def parse_server(text: str, **more: str) -> server_blocks.Server:
    (server,) = servers(**{"conf.d__tea.conf": text, **more})
    return server


def test_a_server_is_found_by_file_and_line() -> None:
    server = parse_server(f"# tea\n\nserver {{\n listen 443 ssl;\n server_name {SERVICE.fqdn};\n {PAIR}\n}}\n")
    assert (server.file, server.line) == ("/etc/nginx/conf.d/tea.conf", 3)
    assert (server.cert, server.key, server.ports) == (SERVICE.cert, SERVICE.key, (443,))


NOT_OURS = {
    "another name": f"server {{ listen 443 ssl; server_name tea.internal; {PAIR} }}",
    "a longer name": f"server {{ listen 443 ssl; server_name {SERVICE.fqdn}.example; {PAIR} }}",
    "a comment": f"# server {{ listen 443 ssl; server_name {SERVICE.fqdn}; }}\n",
    "plain http": f"server {{ listen 80; server_name {SERVICE.fqdn}; }}",
    "a map": f"map $host $x {{ {SERVICE.fqdn} 1; }}",
    "a redirect to it": f"server {{ listen 443 ssl; server_name x; return 301 https://{SERVICE.fqdn}; {PAIR} }}",
}


@pytest.mark.parametrize("text", NOT_OURS.values(), ids=NOT_OURS)
def test_a_block_that_does_not_serve_the_name_over_tls_is_left_out(text: str) -> None:
    assert servers(**{"conf.d__tea.conf": text}) == []


PORTS = {
    "443 ssl": (443,),
    "8443 ssl http2": (8443,),
    "[::]:8443 ssl": (8443,),
    "10.87.0.12:444 ssl": (444,),
    "[fd00::1]:445 ssl default_server": (445,),
    "10.87.0.12 ssl": (80,),
    "[::] ssl": (80,),
}


@pytest.mark.parametrize(("listen", "ports"), PORTS.items(), ids=PORTS)
def test_the_port_of_a_listen_is_parsed_as_nginx_does(listen: str, ports: tuple[int, ...]) -> None:
    assert parse_server(f"server {{ listen {listen}; server_name {SERVICE.fqdn}; {PAIR} }}").ports == ports


def test_each_port_is_listed_once() -> None:
    text = f"server {{ listen 443 ssl; listen [::]:443 ssl; listen 80; listen 444 ssl; server_name {SERVICE.fqdn}; }}"
    assert parse_server(text).ports == (443, 444)


@pytest.mark.parametrize("name", [f"a.internal {SERVICE.fqdn}", f'"{SERVICE.fqdn}"', "GONGFOO.Internal"])
def test_a_name_is_found_among_others_in_quotes_and_in_upper_case(name: str) -> None:
    # nginx compares names without regard to case.
    assert parse_server(f"server {{ listen 443 ssl; server_name {name}; {PAIR} }}").cert == SERVICE.cert


INCLUDES = {
    "absolute": ("/etc/nginx/snippets/tea.conf", "snippets__tea.conf"),
    "relative": ("snippets/tea.conf", "snippets__tea.conf"),
    "pattern": ("snippets/te*.conf", "snippets__tea.conf"),
}


@pytest.mark.parametrize(("include_path", "file"), INCLUDES.values(), ids=INCLUDES)
def test_a_pair_in_an_included_file_is_found(include_path: str, file: str) -> None:
    text = f"server {{ listen 443 ssl; server_name {SERVICE.fqdn}; include {include_path}; }}"
    assert parse_server(text, **{file: PAIR}).cert == SERVICE.cert


def test_a_name_in_an_included_file_is_found() -> None:
    text = f"server {{ listen 443 ssl; include snippets/name.conf; {PAIR} }}"
    assert parse_server(text, **{"snippets__name.conf": f"server_name {SERVICE.fqdn};"}).cert == SERVICE.cert


def test_a_server_inside_http_of_the_main_file_is_found() -> None:
    main = f"events {{}}\nhttp {{\n  server {{ listen 443 ssl; server_name {SERVICE.fqdn}; {PAIR} }}\n}}\n"
    (server,) = server_blocks.find(Host(conf={MAIN: main}).state(), SERVICE)
    assert (server.file, server.line) == (MAIN, 3)


@pytest.mark.parametrize("text", ["server {", "}", 'server_name "', "\x00\x01 gongfoo.internal {", "lua { }} }"])
def test_a_file_that_cannot_be_parsed_does_not_hide_another(text: str) -> None:
    good = f"server {{ listen 443 ssl; server_name {SERVICE.fqdn}; {PAIR} }}"
    parsed = servers(**{"conf.d__a.conf": f"{text} # {SERVICE.fqdn}", "conf.d__b.conf": good})
    assert [server.file for server in parsed] == ["/etc/nginx/conf.d/b.conf"]


def test_a_valid_configuration_has_no_error() -> None:
    assert config_dump.config_error(Host().state()) == ""


def test_the_error_line_is_found_in_the_output_of_nginx() -> None:
    nginx_output = (
        "nginx: [warn] x\n2026/11/23 12:00:00 [emerg] 7#7: "
        'host not found in upstream "nope" in /e:9\nnginx: test failed'
    )
    error = config_dump.config_error(Host(refusal=nginx_output).state())
    assert "host not found" in error
    assert config_dump.error_line(error).startswith('host not found in upstream "nope" in /e:9')
    assert "test failed" not in config_dump.error_line(error)


@pytest.mark.parametrize("output", ["", "whatever", "nginx: command not found"])
def test_output_without_an_error_line_is_returned_unchanged(output: str) -> None:
    assert config_dump.error_line(output) == output


def test_the_vhost_path_follows_the_layout_of_the_host() -> None:
    fedora, debian = Host().state(), Host(conf={MAIN: DEBIAN_CONF}, has_sites=True).state()
    assert layout.choose_vhost_path(fedora, SERVICE, SETTINGS) == VhostPath("/etc/nginx/conf.d/gongfoo.internal.conf")
    sites = "/etc/nginx/sites-{}/gongfoo.internal.conf"
    assert layout.choose_vhost_path(debian, SERVICE, SETTINGS) == VhostPath(
        sites.format("available"), sites.format("enabled")
    )
    # sites-available alone is a folder that nginx does not read.
    assert layout.choose_vhost_path(Host(has_sites=True).state(), SERVICE, SETTINGS).link == ""
    with_conf_dir = replace(SETTINGS, conf_dir="/srv/conf")
    assert layout.choose_vhost_path(debian, SERVICE, with_conf_dir) == VhostPath("/srv/conf/gongfoo.internal.conf")


def test_a_vhost_is_included_once_the_dump_has_it() -> None:
    host = Host()
    vhost_path = layout.choose_vhost_path(host.state(), SERVICE, SETTINGS)
    assert not layout.is_included(host.state(), vhost_path)
    assert layout.is_included(host.with_vhost().state(), vhost_path)


def test_a_refused_configuration_and_a_failed_reload_have_messages_of_their_own() -> None:
    refused = activation.explain(
        Answer("install_config", ExitStatus.CONFIG_REFUSED, b"", "nginx: [emerg] boom in /x:1\nnginx: test failed"),
        Host().state(),
    )
    assert "boom in /x:1" in str(refused)
    failed = activation.explain(
        Answer("reload", ExitStatus.LOAD_FAILED, b"", "Job for nginx.service failed."), Host().state()
    )
    assert "Job for nginx.service failed." in str(failed)
    for error in (refused, failed):
        assert str(error).startswith("h2: ")
        assert error.remedy
        assert "\n" not in str(error)
