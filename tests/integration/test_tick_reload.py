"""The renewal tick and nginx: a certificate counts when nginx serves it, and a lost reload is repeated."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from lab.services import hosts
from tests.integration import tick_service
from tests.integration.service_on_host import CERT_DIR
from tests.integration.tick_service import DUE, FRESH, RUN_DIR

if TYPE_CHECKING:
    from tests.integration.tick_service import MakeService, Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service


def test_a_lost_reload_is_made_good(service: Service) -> None:
    service.renew_in_place()
    assert service.served_serial() != service.serial_on_disk()
    tick = service.tick()
    assert tick.ok
    assert len(tick.lines) == 1
    assert "did not serve the certificate on disk; it was reloaded and serves it now" in tick.lines[0]
    assert service.served_serial() == service.serial_on_disk()


@pytest.mark.parametrize(
    ("listens", "address"),
    [
        (["10.87.0.12:443 ssl"], "10.87.0.12:443"),
        (["8443 ssl"], "127.0.0.1:8443"),
        (["[::]:8443 ssl"], "[::1]:8443"),
        (["[::1]:8443 ssl", "127.0.0.1:8443 ssl"], "127.0.0.1:8443"),
        (["[::]:8443 ssl ipv6only=off"], "127.0.0.1:8443"),
    ],
    ids=["mesh-address", "other-port", "ipv6", "loopback", "dual-stack"],
)
def test_a_lost_reload_is_found_wherever_nginx_listens(make: MakeService, listens: list[str], address: str) -> None:
    service = make().serve(FRESH, *listens)
    service.renew_in_place()
    tick = service.tick()
    assert tick.ok
    assert "it was reloaded" in tick.lines[0]
    assert service.served_serial(address) == service.serial_on_disk()


def test_a_mesh_address_is_probed_although_another_service_listens_on_every_address(make: MakeService) -> None:
    # nginx opens one socket for both, and chooses the server by the address that the client connected to.
    make().serve(FRESH, "443 ssl")
    service = make().serve(FRESH, f"{hosts.address('h2')}:443 ssl")
    service.renew_in_place()
    assert "it was reloaded" in service.tick().lines[0]
    assert service.served_serial(f"{hosts.address('h2')}:443") == service.serial_on_disk()


def test_a_vhost_that_was_never_loaded_is_loaded(make: MakeService) -> None:
    service = make()
    service.mint()
    service.write_config(
        f"server {{ listen 443 ssl; server_name {service.fqdn};"
        f' ssl_certificate "{service.cert}"; ssl_certificate_key {service.key}; }}\n'
    )
    assert service.served_serial() != service.serial_on_disk()
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk()


def test_within_three_seconds_of_a_reload_a_tick_waits_for_what_others_do(service: Service) -> None:
    service.renew_in_place()
    # The last reload always counts as recent here, and another one happens while the tick waits for the first time.
    mark = f"{RUN_DIR}/.nginx.reloaded"
    service.stub(
        "sleep",
        '[ "$1" != 0.5 ] || [ -e /run/waited ] || { touch /run/waited; /usr/bin/systemctl reload nginx; }\n'
        'exec $real "$@"',
    )
    reloads = service.reloads()
    service.sh(f"mkdir -p -m 0700 {RUN_DIR}; touch -d '+1 minute' {mark}")
    try:
        assert service.tick(forget_marks=False).ok
        assert service.sh("ls /run/waited", check=False) != ""
        assert service.sh(f"find {mark} -newermt now") != "", "the tick has not reloaded nginx itself"
        assert service.reloads() == reloads + 1
        assert service.served_serial() == service.serial_on_disk()
    finally:
        service.sh(f"rm -f {mark} /run/waited")


def test_a_pair_that_nginx_does_not_present_is_renewed_with_a_note(make: MakeService) -> None:
    service = make()
    service.mint(DUE)
    service.write_config(
        "server { listen 8080; location / { proxy_pass https://127.0.0.1:1;"
        f" proxy_ssl_certificate {service.cert}; proxy_ssl_certificate_key {service.key}; }} }}\n"
    )
    service.reload_nginx()
    old, reloads = service.serial_on_disk(), service.reloads()
    tick = service.tick()
    assert tick.ok
    assert len(tick.lines) == 1
    assert "renewed until" in tick.lines[0]
    assert "presents no certificate for this name" in tick.lines[0]
    assert service.serial_on_disk() != old
    assert service.reloads() == reloads + 1, "nginx may present it to an upstream"


def test_a_listener_that_expects_a_proxy_header_is_not_an_error(make: MakeService) -> None:
    service = make().serve(DUE, "443 ssl proxy_protocol")
    reloads = service.reloads()
    tick = service.tick()
    assert tick.ok, tick.lines
    assert "presents no certificate for this name" in tick.lines[0]
    assert service.reloads() == reloads + 1
    service.mint()
    assert service.tick().ok
    assert service.reloads() == reloads + 1


# comm, the name of a process, has at most 15 bytes. NUMBER is the PID of nginx's main process.
@pytest.mark.parametrize(
    "comm",
    [
        "nginx",
        '\n:8443 "nginx"',
        pytest.param('"nginx",pid=NUMBER', marks=pytest.mark.slow),
        pytest.param('x",pid=NUMBER', marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_a_process_of_a_user_is_not_taken_for_nginx_whatever_its_name(service: Service, comm: str) -> None:
    main = service.sh("systemctl show --value -p MainPID nginx").strip()
    program = shlex.quote("/home/ops/" + comm.replace("NUMBER", main)[:15])
    service.sh(
        f"cp /usr/bin/openssl {program}; cd /home/ops; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
        f" -nodes -subj /CN=own -addext subjectAltName=DNS:{service.fqdn} -keyout own.key -out own.pem 2>&1;"
        " chown ops own.*; systemd-run --quiet --unit=impostor --uid=ops --working-directory=/home/ops"
        f""" sh -c 'exec "$0" s_server -www -accept 8443 -cert own.pem -key own.key' {program}"""
    )
    try:
        service.wait_for("ss -Hltn 'sport = :8443' | grep -q LISTEN")
        reloads = service.reloads()
        for lifetime in (FRESH, DUE):
            service.mint(lifetime)
            service.reload_nginx()
            reloads += 1
            tick = service.tick()
            assert tick.ok, tick.lines
            assert [": renewed until " in line for line in tick.lines] == [True] * (lifetime == DUE)
            reloads += lifetime == DUE
        assert service.reloads() == reloads
        assert service.served_serial("127.0.0.1:8443") not in ("", service.serial_on_disk())
    finally:
        service.sh(f"systemctl stop impostor; rm {program} /home/ops/own.*")


@pytest.mark.slow
def test_too_many_addresses_are_not_all_probed_and_the_tick_says_so(make: MakeService) -> None:
    many = [f"127.0.0.1:{port} ssl" for port in range(9001, 9081)]
    service, last = make().serve(FRESH, "443 ssl", *many), make().serve(FRESH, "127.0.0.1:9999 ssl")
    service.stub("openssl", '[ "$1" != s_client ] || echo $5 >>/run/probes\nexec $real "$@"')
    for one in (service, last):
        one.renew_in_place()
        service.sh("rm -f /run/probes")
        reloads = service.reloads()
        tick = one.tick()
        assert tick.ok, tick.lines
        assert "only 64 of the 8" in tick.lines[0]
        probed = service.sh("cat /run/probes; rm /run/probes").split()
        if one is service:
            assert "it was reloaded" in tick.lines[0], "port 443 comes first"
            assert len(set(probed)) == 64
            last.mint()
        else:
            assert "presents no certificate for this name" in tick.lines[0]
            assert len(probed) == 64
            assert service.reloads() == reloads


@pytest.mark.parametrize(
    ("shell_line", "message"),
    [
        ('[ "$1" != show ] || exec printf "ActiveState=active\\nMainPID=0\\n"', "set PIDFile= in nginx.service"),
        ("rm /usr/local/sbin/systemctl; mv /usr/bin/ss /usr/bin/ss.away", "install iproute2"),
    ],
    ids=["main process unknown", "no ss"],
)
def test_what_a_tick_needs_to_find_nginx_and_lacks_is_named(make: MakeService, shell_line: str, message: str) -> None:
    service = make().serve(DUE)
    old = service.serial_on_disk()
    service.stub("systemctl", f'{shell_line}\nexec $real "$@"')
    try:
        assert message in service.tick().error
    finally:
        service.sh("[ ! -e /usr/bin/ss.away ] || mv /usr/bin/ss.away /usr/bin/ss")
    service.unstub()
    assert service.serial_on_disk() != old
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk()


@pytest.mark.slow
def test_a_tick_ends_when_only_the_new_workers_accept_connections(make: MakeService) -> None:
    service = make().serve(DUE)
    # Of several workers that wait for a connection, the kernel may wake a stopped one only (EPOLLEXCLUSIVE).
    one_worker = "sed -i 's/^worker_processes.*/worker_processes 1;/' /etc/nginx/nginx.conf"
    service.sh(f"cp -p /etc/nginx/nginx.conf /run/; {one_worker}; systemctl reload nginx")
    try:
        service.wait_for_old_workers()
        (old,) = service.workers().split()
        # Not `kill`: the unit has no right to signal processes of other users.
        service.stub(
            "sleep",
            f'[ "$1" != 0.1 ] || {{ cat /proc/{old}/cmdline >/run/waited; systemctl kill -s CONT nginx; }}\n'
            'exec $real "$@"',
        )
        service.sh(f"kill -STOP {old}")
        try:
            assert service.tick().ok
            assert "nginx: worker process" in service.sh("cat /run/waited; rm /run/waited")
        finally:
            service.sh(f"kill -CONT {old}", check=False)
        assert service.served_serial() == service.serial_on_disk()
    finally:
        service.sh("mv /run/nginx.conf /etc/nginx/; systemctl reload nginx")
        service.wait_for_old_workers()


def test_a_stopped_nginx_is_not_started_and_the_renewal_counts(make: MakeService) -> None:
    service = make().serve(DUE)
    service.sh("systemctl stop nginx")
    old = service.serial_on_disk()
    tick = service.tick()
    assert tick.ok
    assert "renewed until" in tick.lines[0]
    assert "nginx is not running" in tick.lines[0]
    assert service.serial_on_disk() != old
    assert service.sh("systemctl is-active nginx", check=False).strip() == "inactive"
    service.sh("systemctl start nginx")
    assert service.served_serial() == service.serial_on_disk()


def test_a_broken_configuration_keeps_the_old_pair_until_it_is_repaired(make: MakeService) -> None:
    service = make().serve(DUE)
    before, old = service.pair_state(), service.served_serial()
    with service.broken_config("server { listen 443 ssl; nonsense; }\n"):
        for _ in range(2):
            error = service.tick().error
            assert "nginx's configuration is broken" in error
            assert 'unknown directive "nonsense"' in error
        assert service.pair_state() == before
        assert service.served_serial() == old
        assert service.leftovers() == ""
        failure = service.sh(f"cat {RUN_DIR}/{service.name}.failed").strip()
        assert f"{service.fqdn}: {failure}" == error
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk() != old
    assert service.sh(f"ls {RUN_DIR}/{service.name}.failed", check=False) == ""


def test_a_lost_reload_is_repeated_after_the_configuration_is_repaired(service: Service) -> None:
    service.renew_in_place()
    before = service.pair_state()
    with service.broken_config():
        assert "cannot be reloaded" in service.tick().error
    assert service.pair_state() == before
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk()


def test_a_renewal_that_nginx_rejects_is_rolled_back(make: MakeService) -> None:
    service = make().serve(DUE)
    before = service.pair_state()
    # The configuration breaks between the test before the renewal and the one after it.
    service.stub(
        "nginx",
        f"[ ! -e {CERT_DIR}/.{service.fqdn}.pem.prev ] ||"
        " { echo 'nginx: [emerg] broken by the test' >&2; exit 1; }\nexec $real \"$@\"",
    )
    last = f"/var/lib/meshfab/{service.name}.last"
    error = service.tick().error
    assert "the renewal was rolled back" in error
    assert "broken by the test" in error
    assert service.pair_state() == before
    assert service.leftovers() == ""
    assert service.sh(f"ls {last}", check=False) == "", "there was no renewal"
    service.unstub()
    assert service.tick().ok
    assert service.sh(f"cat {last}") == service.sh(f"date -Is -r {service.cert}")
    assert service.served_serial() == service.serial_on_disk()


@pytest.mark.slow
def test_a_reload_that_succeeds_without_effect_is_a_failure(make: MakeService) -> None:
    # Another process has the port: `nginx -t` succeeds, and `nginx -s reload` returns 0.
    service = make().serve(DUE)
    # A clock at five times the speed, for the ten seconds that the tick waits for the new certificate.
    service.stub("date", '[ "$*" != +%s ] || exec expr 5 \\* $($real +%s)\nexec $real "$@"')
    service.sh(
        "systemd-run --quiet --unit=squatter openssl s_server -accept 9443 -naccept 99"
        f" -cert {service.cert} -key {service.key}"
    )
    try:
        service.wait_for("ss -Hltn 'sport = :9443' | grep -q LISTEN")
        service.write("/etc/nginx/conf.d/late.conf", "server { listen 9443; }\n")
        assert "does not serve the certificate on disk" in service.tick().error
    finally:
        service.sh("rm -f /etc/nginx/conf.d/late.conf; systemctl stop squatter")
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk()
