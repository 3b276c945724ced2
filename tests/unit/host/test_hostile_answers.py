"""What a hostile host answers costs bounded CPU time, and no value of it goes on unchecked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import create_autospec

import pytest

from meshfab.config import validation
from meshfab.config.service import Service
from meshfab.errors import InputError, NginxError
from meshfab.fleet import doctor
from meshfab.host import certificate, certificate_chain, host_addresses
from meshfab.nginx import activation, change, config_dump, listeners, previous_options, server_blocks, vhost
from meshfab.ssh import known_hosts, session
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Answer, Request
from meshfab.ssh.shell_channel import ShellChannel
from tests.support.certificates import SERVICE, SETTINGS, authority, good_pair
from tests.support.fake_host import Host, RecordingShell, encoded
from tests.support.judged_host import cheap

MANY = 200_000


def dumped(text: str) -> str:
    return f"# configuration file /etc/nginx/nginx.conf:\n{text}\n"


CONFIGS = {
    "newlines": "\n" * MANY,
    "blanks": " " * MANY,
    "tabs after a semicolon": ";" + "\t" * MANY,
    "listen without an end": "listen " * (MANY // 8),
    "user without a name": "user\n" * (MANY // 8),
    "includes without a name": "include\n" * (MANY // 8),
    "names without an end": 'conflicting server name "' * (MANY // 25),
    "braces": "{" * MANY,
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_a_long_run_of_anything_in_nginxs_configuration_is_read_in_linear_time(text: str) -> None:
    with cheap():
        state = replace(Host(), conf={"/etc/nginx/nginx.conf": text}).state()
        state = replace(state, nginx_conf=text + dumped(text))
        config_dump.is_port_free(state, 443)
        config_dump.config_error(state)
        config_dump.error_log(state)
        config_dump.conflicts(state, SERVICE)
        listeners.listener(state, 443)


@pytest.mark.parametrize("filler", [" ", "\n", "[emerg] ", "a "], ids=["blanks", "newlines", "marks", "words"])
def test_a_long_error_of_nginx_is_read_in_linear_time(filler: str) -> None:
    with cheap():
        error = activation.explain(Answer("reload", 3, b"", f"[emerg] {filler * MANY}"), Host().state())
    assert isinstance(error, NginxError)


def test_files_that_include_each_other_twice_end() -> None:
    files = {
        f"/etc/nginx/f{number}.conf": f"include f{(number + 1) % 40}.conf;\ninclude f{(number + 1) % 40}.conf;\n"
        for number in range(40)
    }
    files["/etc/nginx/nginx.conf"] = f"http {{ server {{ server_name {SERVICE.fqdn}; include f0.conf; }} }}\n"
    conf = "".join(f"# configuration file {path}:\n{text}\n" for path, text in files.items())
    with cheap():
        assert server_blocks.find(replace(Host().state(), nginx_conf=conf), SERVICE) == []


def test_a_chain_of_hundreds_of_certificates_is_not_checked() -> None:
    pem = good_pair().pem * 200
    with cheap(), pytest.raises(ValueError, match="more than 6 certificates"):
        certificate.read_leaf(pem)
    leaf = certificate.read_leaf(good_pair().pem)
    with cheap():
        fault = certificate_chain.chain_fault(leaf, authority("Other").root_pem * 500, leaf.not_before)
    assert "more than 20" in fault


def test_a_header_without_an_end_is_no_header() -> None:
    with cheap():
        assert vhost.read_header("# Written by meshfab; " + " {" * MANY + "\n") is None


def test_an_exit_status_of_thousands_of_digits_is_a_broken_answer() -> None:
    channel: Any = create_autospec(ShellChannel)
    channel.receive_out.side_effect = [(b"1\n", "0"), (b"", "9" * 5000)]
    channel.receive_err.return_value = b""
    shell = RootShell(None)  # nothing is connected
    shell._channel = channel
    assert shell._batch([Request("read")], 0.0)[0].status == 255


def test_only_addresses_of_a_host_are_taken_and_in_their_normal_form() -> None:
    host = replace(Host(), addresses="10.87.0.12 fe80::1%eth0 FD00:0::12 1.2.3 $(reboot) 10.87.0.13;")
    assert host.state().addresses == ("10.87.0.12", "fd00::12")
    many = replace(Host(), addresses=" ".join(f"10.0.{number // 250}.{number % 250}" for number in range(5000)))
    assert len(many.state().addresses) == 64


@pytest.mark.parametrize("zone", ["fe80::1%eth0", "fe80::1%;return 200 owned", "fe80::1% 443 default_server"])
def test_a_zone_is_no_part_of_an_address_to_listen_on(zone: str) -> None:
    with pytest.raises(InputError, match="zone"):
        validation.listen(zone)
    host = Host()
    text = vhost.render(replace(SERVICE, listen=(zone,)), SETTINGS, (1, 22, 1))
    host.vhosts = {host.vhost_path: text}
    with pytest.raises(NginxError, match="zone"):
        previous_options.merge_previous_options(host.state(), SERVICE)


def test_what_the_vhosts_header_asks_for_goes_on_in_its_normal_form() -> None:
    host = Host()
    text = vhost.render(replace(SERVICE, listen=("FD00:0:0::12",)), SETTINGS, (1, 22, 1))
    host.vhosts = {host.vhost_path: text}
    assert previous_options.merge_previous_options(host.state(), SERVICE).listen == ("fd00::12",)


@pytest.mark.parametrize("san", ["*.internal", "a.internal;return", "A B", "$host"])
def test_a_name_of_a_certificate_that_is_no_dns_name_is_not_asked_for_again(san: str) -> None:
    pair: Any = authority().pair(SERVICE.fqdn, san)
    service = Service.of("gongfoo", SETTINGS)
    state = replace(Host(), pair=pair, cert=pair.pem, public=pair.public).state()
    assert previous_options.merge_previous_options(state, service).sans is None


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\r"])
def test_only_a_newline_ends_a_line_of_known_hosts(end: str) -> None:
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIA=="
    index = known_hosts.parse([("file", f"# a comment{end}h1 ssh-ed25519 {key}\nh2\xa0h3 ssh-ed25519 {key}\n")])
    assert known_hosts.lookup(index, "h1").entries == ()
    assert known_hosts.lookup(index, "h3").entries == ()


def test_the_operators_machine_does_not_ask_itself() -> None:
    host = replace(Host(), addresses="127.0.0.1 ::1 0.0.0.0 224.0.0.1 ::ffff:127.0.0.1 10.87.0.12")
    assert host.state().addresses == ("10.87.0.12",)


def test_what_a_name_resolves_to_on_the_host_are_addresses() -> None:
    rows = "tea 10.0.0.2\ntea FD00:0::2\ntea evil\ntea fe80::1%;\n" + "wine 10.0.0.1\n" * 50_000
    with cheap():
        assert host_addresses.resolved(rows) == {"tea": {"10.0.0.2", "fd00::2"}, "wine": {"10.0.0.1"}}


@pytest.mark.parametrize("listen", ["192.0.2.66", "evil.example", "10.87.0.12"])
def test_an_address_that_is_not_the_hosts_own_is_not_asked(listen: str) -> None:
    pair = f"ssl_certificate {SERVICE.cert}; ssl_certificate_key {SERVICE.key};"
    foreign = f"server {{ listen {listen}:444 ssl; server_name {SERVICE.fqdn}; {pair} }}"
    state = replace(Host(), conf={"/etc/nginx/nginx.conf": foreign}).state()
    own = ("10.87.0.12",) if listen == "10.87.0.12" else ()
    assert change.serving_endpoint(state, SERVICE, SETTINGS) == listeners.Endpoint(own, 444)


def test_an_address_of_the_vhosts_header_that_is_not_the_hosts_own_is_not_asked() -> None:
    service = replace(SERVICE, listen=("192.0.2.66",))
    host = Host(service).with_vhost()
    assert change.serving_endpoint(host.state(), service, SETTINGS) == listeners.Endpoint(())
    mesh = replace(SETTINGS, listen=("192.0.2.66",))
    assert change.serving_endpoint(host.state(), service, mesh) == listeners.Endpoint(("192.0.2.66",))


@pytest.mark.parametrize(
    "directive", ["listen;", "listen 443 ssl; ssl_certificate;", "include;", "listen a:99999 ssl;"]
)
def test_a_directive_without_what_it_needs_is_no_server(directive: str) -> None:
    text = f"server {{ server_name {SERVICE.fqdn}; {directive} }}"
    state = replace(Host(), conf={"/etc/nginx/nginx.conf": text}).state()
    assert all(server.cert == "" for server in server_blocks.find(state, SERVICE))


def test_doctor_says_unknown_of_a_host_whose_answer_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    too_long = encoded({"ca.roots": "x" * 600_000})
    shell = RecordingShell(
        {"facts+probe": lambda _: host.answer(), "doctor": lambda _: Answer("doctor", 0, too_long, "")}
    )
    monkeypatch.setattr(session, "shell_within", lambda *_args, **_options: shell)
    (finding,) = doctor.examine("h2", SETTINGS)
    assert (finding.status, finding.code) == ("unknown", "login")
    assert "ca.roots has 600000 bytes" in finding.message
