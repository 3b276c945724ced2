"""The renewal tick on real hosts: step-ca, nginx and systemd, each fault injected for real.

A service is set up by hand, as the runbook does it and with no settings file, so every test also
shows that a service which meshfab did not set up is renewed by our units.
"""

from __future__ import annotations

import datetime
import shlex
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab import layout
from lab.faults import faults
from lab.services import ca, hosts
from tests.integration.tick_service import (
    CERT_DIR,
    DUE,
    HELPER,
    KEY_DIR,
    ROOT,
    Service,
    install,
    uninstall,
)

pytestmark = pytest.mark.lab

MakeService = Callable[..., Service]


@pytest.fixture(scope="module")
def equipped(mesh: object) -> Iterator[None]:  # noqa: ARG001
    bare = [host for host in ("h1", "h2") if hosts.run(host, ["test", "-e", HELPER], check=False).returncode]
    for host in ("h1", "h2"):
        install(host)
    yield
    for host in bare:
        uninstall(host)


@pytest.fixture
def make(equipped: None) -> Iterator[MakeService]:  # noqa: ARG001
    made: list[Service] = []

    def make_one(host: str = "h2", *, name: str = "", cert: str = "", key: str = "") -> Service:
        made.append(Service(host, name, cert, key))
        return made[-1]

    yield make_one
    for host in {service.host for service in made}:
        files = "\n".join(f"rm -rf {one.traces()}" for one in made if one.host == host)
        reset = "rm -f /usr/local/sbin/*; systemctl reset-failed 'step@*' nginx"
        hosts.run(host, ["sh"], input=f"{files}\n{reset}\n", check=False)
        hosts.run(host, "systemctl start nginx; systemctl reload nginx")


@pytest.fixture
def service(make: MakeService) -> Service:
    """A service that is served, with a day to live."""
    return served(make())


def served(service: Service, life: str = "24h", *listens: str) -> Service:
    service.mint(life)
    service.vhost(*listens)
    return service


# What a tick does when nothing is wrong.


def test_without_a_certificate_a_tick_does_nothing(make: MakeService) -> None:
    service = make()
    before = hosts.checksum(service.host)
    tick = service.tick()
    assert tick.ok
    assert tick.lines == [
        f"{service.fqdn}: no certificate at {service.cert} yet: nothing to do",
    ]
    assert hosts.checksum(service.host) == before


def test_a_tick_that_is_not_due_writes_nothing_and_says_nothing(service: Service) -> None:
    service.tick()
    before = service.pair(), service.workers()
    service.sh("touch /run/mark; sleep 0.02")
    tick = service.tick()
    assert tick.ok
    assert tick.lines == []
    assert (service.pair(), service.workers()) == before
    # systemd sets the unit's /dev up in a folder of /tmp that it takes away again.
    written = "find / -xdev -newer /run/mark -not -path /tmp -not -path '/var/log/*'"
    assert service.sh(written) == ""


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["debian", "fedora"])
def test_a_certificate_that_is_due_is_renewed_and_served(make: MakeService, host: str) -> None:
    service = served(make(host), DUE)
    service.sh(f"chown daemon:adm {service.cert}; chmod 0604 {service.cert}")
    service.sh(f"setfacl -m u:nobody:r {service.cert}")
    before, old, reloads = service.attributes(), service.on_disk(), service.reloads()
    tick = service.tick()
    assert tick.ok
    assert len(tick.lines) == 1
    assert ": renewed until " in tick.lines[0]
    assert service.served() == service.on_disk() != old
    assert service.attributes() == before
    assert service.reloads() == reloads + 1
    assert service.leftovers() == ""
    assert service.sh(f"cat /var/lib/meshfab/{service.name}.last")


def test_a_renewal_can_be_forced_once(service: Service) -> None:
    old = service.on_disk()
    service.force()
    assert service.tick().ok
    forced = service.on_disk()
    assert forced != old
    assert service.tick().ok
    assert service.on_disk() == forced == service.served()


def test_ten_renewals_under_load_keep_every_attribute_and_fail_no_client(service: Service) -> None:
    before = service.attributes()
    serials = {service.on_disk()}
    with Clients(service) as clients:
        for _ in range(10):
            service.force()
            assert service.tick().ok
            serials.add(service.served())
    assert len(serials) == 11
    assert service.attributes() == before
    assert clients.failures == []
    assert clients.served > 50


def test_the_settings_of_a_service_are_heeded(make: MakeService) -> None:
    service = make(cert="/srv/tls/own.pem", key="/srv/tls/private/own.pem")
    served(service)
    service.write(
        f"/etc/meshfab/{service.name}.env",
        f"MESHFAB_CERT={service.cert}\nMESHFAB_KEY={service.key}\nMESHFAB_MTLS=false\n"
        f"MESHFAB_CA_URL=https://{layout.CA_ADDRESS}\n",
    )
    old = service.on_disk()
    service.force()
    tick = service.tick()
    assert tick.ok, tick.lines
    assert service.served() == service.on_disk() != old


def test_a_folder_that_the_unit_may_not_write_is_named(make: MakeService) -> None:
    service = make(cert="/etc/own-tls/own.pem", key="/etc/own-tls/key/own.pem")
    served(service, DUE)
    service.write(f"/etc/meshfab/{service.name}.env", f"MESHFAB_CERT={service.cert}\nMESHFAB_KEY={service.key}\n")
    before = service.pair()
    assert "give it ReadWritePaths=/etc/own-tls by a drop-in" in service.tick().error
    assert service.pair() == before
    drop_in = f"/etc/systemd/system/{service.unit}.d"
    service.write(f"{drop_in}/paths.conf", "[Service]\nReadWritePaths=/etc/own-tls\n")
    service.sh("systemctl daemon-reload")
    try:
        assert service.tick().ok
    finally:
        service.sh(f"rm -r {drop_in}; systemctl daemon-reload")
    assert service.served() == service.on_disk()


# What is served.


def test_a_lost_reload_is_made_good(service: Service) -> None:
    service.renew_in_place()
    assert service.served() != service.on_disk()
    tick = service.tick()
    assert tick.ok
    assert len(tick.lines) == 1
    assert "had not taken the certificate on disk" in tick.lines[0]
    assert service.served() == service.on_disk()


@pytest.mark.parametrize(
    ("listens", "at"),
    [
        (["10.87.0.12:443 ssl"], "10.87.0.12:443"),
        (["8443 ssl"], "127.0.0.1:8443"),
        (["[::]:8443 ssl"], "[::1]:8443"),
        (["[::1]:8443 ssl", "127.0.0.1:8443 ssl"], "127.0.0.1:8443"),
        (["[::]:8443 ssl ipv6only=off"], "127.0.0.1:8443"),
    ],
    ids=["mesh-address", "other-port", "ipv6", "loopback", "dual-stack"],
)
def test_a_lost_reload_is_seen_wherever_nginx_listens(make: MakeService, listens: list[str], at: str) -> None:
    service = served(make(), "24h", *listens)
    service.renew_in_place()
    tick = service.tick()
    assert tick.ok
    assert "had not taken" in tick.lines[0]
    assert service.served(at) == service.on_disk()


def test_a_mesh_address_is_seen_behind_another_service_on_every_address(make: MakeService) -> None:
    # nginx opens one socket for both and looks at the address that was dialled.
    served(make(), "24h", "443 ssl")
    service = served(make(), "24h", f"{hosts.address('h2')}:443 ssl")
    service.renew_in_place()
    assert "had not taken" in service.tick().lines[0]
    assert service.served(f"{hosts.address('h2')}:443") == service.on_disk()


def test_a_vhost_that_was_never_loaded_is_loaded(make: MakeService) -> None:
    service = make()
    service.mint()
    service.conf(
        f"server {{ listen 443 ssl; server_name {service.fqdn};"
        f' ssl_certificate "{service.cert}"; ssl_certificate_key {service.key}; }}\n'
    )
    assert service.served() != service.on_disk()
    assert service.tick().ok
    assert service.served() == service.on_disk()


def test_a_pair_that_nginx_does_not_serve_is_renewed_with_a_note(make: MakeService) -> None:
    service = make()
    service.mint(DUE)
    service.conf(
        "server { listen 8080; location / { proxy_pass https://127.0.0.1:1;"
        f" proxy_ssl_certificate {service.cert}; proxy_ssl_certificate_key {service.key}; }} }}\n"
    )
    service.reload_nginx()
    old, reloads = service.on_disk(), service.reloads()
    tick = service.tick()
    assert tick.ok
    assert len(tick.lines) == 1
    assert "renewed until" in tick.lines[0]
    assert "presents no certificate for the name" in tick.lines[0]
    assert service.on_disk() != old
    assert service.reloads() == reloads + 1, "nginx may use it towards an upstream"


def test_a_listener_that_wants_a_proxy_header_is_not_taken_for_a_fault(make: MakeService) -> None:
    service = served(make(), DUE, "443 ssl proxy_protocol")
    reloads = service.reloads()
    tick = service.tick()
    assert tick.ok, tick.lines
    assert "presents no certificate for the name" in tick.lines[0]
    assert service.reloads() == reloads + 1
    service.mint()
    assert service.tick().ok
    assert service.reloads() == reloads + 1


def test_a_stopped_nginx_is_not_started_and_the_renewal_counts(make: MakeService) -> None:
    service = served(make(), DUE)
    service.sh("systemctl stop nginx")
    old = service.on_disk()
    tick = service.tick()
    assert tick.ok
    assert "renewed until" in tick.lines[0]
    assert "nginx is not running" in tick.lines[0]
    assert service.on_disk() != old
    assert service.sh("systemctl is-active nginx", check=False).strip() == "inactive"
    service.sh("systemctl start nginx")
    assert service.served() == service.on_disk()


# nginx, broken.


def test_a_broken_configuration_keeps_the_old_pair_until_it_is_repaired(make: MakeService) -> None:
    service = served(make(), DUE)
    before, old = service.pair(), service.served()
    service.write("/etc/nginx/conf.d/broken.conf", "server { listen 443 ssl; nonsense; }\n")
    try:
        for _ in range(2):
            error = service.tick().error
            assert "nginx's configuration is broken" in error
            assert 'unknown directive "nonsense"' in error
        assert service.pair() == before
        assert service.served() == old
        assert service.leftovers() == ""
        failed = service.sh(f"cat /run/meshfab/{service.name}.failed").strip()
        assert f"{service.fqdn}: {failed}" == error
    finally:
        service.sh("rm /etc/nginx/conf.d/broken.conf")
    assert service.tick().ok
    assert service.served() == service.on_disk() != old
    assert service.sh(f"ls /run/meshfab/{service.name}.failed", check=False) == ""


def test_a_lost_reload_waits_for_the_repair(service: Service) -> None:
    service.renew_in_place()
    before = service.pair()
    service.write("/etc/nginx/conf.d/broken.conf", "nonsense;\n")
    try:
        assert "cannot be reloaded" in service.tick().error
    finally:
        service.sh("rm /etc/nginx/conf.d/broken.conf")
    assert service.pair() == before
    assert service.tick().ok
    assert service.served() == service.on_disk()


def test_a_renewal_that_nginx_refuses_is_undone(make: MakeService) -> None:
    service = served(make(), DUE)
    before = service.pair()
    # The configuration breaks between the test before the renewal and the one after it.
    service.stub(
        "nginx",
        f"[ ! -e {CERT_DIR}/.{service.fqdn}.pem.prev ] ||"
        " { echo 'nginx: [emerg] no luck today' >&2; exit 1; }\nexec $real \"$@\"",
    )
    error = service.tick().error
    assert "the renewal was undone" in error
    assert "no luck today" in error
    assert service.pair() == before
    assert service.leftovers() == ""
    service.unstub()
    assert service.tick().ok
    assert service.served() == service.on_disk()


def test_a_reload_that_is_green_and_changes_nothing_is_a_failure(make: MakeService) -> None:
    # Another process has the port: `nginx -t` lets that pass and `nginx -s reload` returns 0.
    service = served(make(), DUE)
    # The ten seconds that a reload is given, at five times the speed.
    service.stub("date", '[ "$*" != +%s ] || exec expr 5 \\* $($real +%s)\nexec $real "$@"')
    service.sh(
        "systemd-run --quiet --unit=squatter openssl s_server -accept 9443 -naccept 99"
        f" -cert {service.cert} -key {service.key}"
    )
    try:
        service.write("/etc/nginx/conf.d/late.conf", "server { listen 9443; }\n")
        assert "yet does not serve the certificate on disk" in service.tick().error
    finally:
        service.sh("rm /etc/nginx/conf.d/late.conf; systemctl stop squatter")
    assert service.tick().ok
    assert service.served() == service.on_disk()


# The CA, broken.


def test_a_ca_that_is_down_for_some_ticks_is_only_waited_for(make: MakeService) -> None:
    service = served(make(), DUE)
    before, old = service.pair(), service.on_disk()
    faults.ca_stop()
    try:
        for _ in range(2):
            error = service.tick().error
            assert f"the CA at {layout.CA_URL} cannot be reached" in error
            assert "the next tick tries again" in error
        assert service.pair() == before
    finally:
        faults.ca_start()
    assert service.tick().ok
    assert service.served() == service.on_disk() != old


def test_a_ca_that_never_answers_does_not_hang_the_tick(make: MakeService) -> None:
    service = served(make(), DUE)
    before = service.pair()
    service.stub("timeout", 'case $* in 60*) shift; exec $real 0.5 "$@" ;; esac; exec $real "$@"')
    faults.ca_pause()
    try:
        assert "cannot be reached (no answer in a minute)" in service.tick().error
    finally:
        faults.ca_resume()
    assert service.pair() == before


def test_a_removed_provisioner_is_told_from_a_ca_that_is_down(make: MakeService) -> None:
    service = served(make(), DUE)
    before = service.pair()
    provisioner = ca.remove_provisioner()
    try:
        assert "provisioner not found: the CA no longer has 'lair'" in service.tick().error
        assert service.pair() == before
    finally:
        ca.add_provisioner(provisioner)
    assert service.tick().ok


def test_a_revoked_certificate_needs_a_person(make: MakeService) -> None:
    service = served(make(), DUE)
    service.sh(f"step ca revoke --cert {service.cert} --key {service.key} --ca-url {layout.CA_URL} --root {ROOT} 2>&1")
    error = service.tick().error
    assert "revoked" in error
    assert advice(service) in error


def test_a_wrong_root_is_named(make: MakeService) -> None:
    service = served(make(), DUE)
    wrong = f"/etc/meshfab/{service.name}.pem"
    service.write(f"/etc/meshfab/{service.name}.env", f"MESHFAB_ROOT={wrong}\n")
    service.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other"
        f" -keyout /dev/null -out {wrong} 2>&1"
    )
    before = service.pair()
    assert f"does not chain to {wrong}" in service.tick().error
    assert service.pair() == before


def test_a_host_that_slept_past_the_end_needs_a_person(make: MakeService) -> None:
    # The CA proves an expired certificate as of a minute before its end, when the CA itself must have been there.
    time.sleep(max(0, 57 - age_of_the_ca()))
    service = served(make(), "5s")
    before = service.pair()
    time.sleep(6)
    error = service.tick().error
    assert "not renewed: it expired at" in error
    assert advice(service) in error
    assert service.pair() == before
    ca.set_claims(allowRenewalAfterExpiry=True)
    try:
        assert service.tick().ok, "a CA that allows it heals it"
    finally:
        ca.set_claims(allowRenewalAfterExpiry=None)
    assert service.served() == service.on_disk()


# The pair, broken.


def test_a_full_disk_leaves_the_pair_and_the_next_tick_renews(make: MakeService) -> None:
    service = served(make(), DUE)
    faults.fill(service.host, CERT_DIR)
    try:
        before, old = service.pair(), service.served()
        assert f"no room in {CERT_DIR}" in service.tick().error
        assert service.pair() == before
        assert service.served() == old
        assert service.leftovers() == ""
    finally:
        faults.free(service.host, CERT_DIR)
    assert service.tick().ok
    assert service.served() == service.on_disk() != old


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (": > {cert}", "is empty, cut or no certificate"),
        ("truncate -s 700 {cert}", "is empty, cut or no certificate"),
        ("truncate -s 1200 {cert}", "is empty, cut or no certificate"),
        ("echo hello > {cert}", "is empty, cut or no certificate"),
        ("openssl ecparam -genkey -name prime256v1 -noout -out {key}", "does not belong to"),
        ("rm {key}", "is missing or is no private key"),
    ],
    ids=["empty", "leaf-cut", "chain-cut", "not-pem", "mismatched", "no-key"],
)
def test_a_damaged_pair_is_left_to_a_person(service: Service, damage: str, word: str) -> None:
    old = service.served()
    service.sh(damage.format(cert=service.cert, key=service.key))
    before = service.sh(f"sha256sum {service.cert} {service.key}", check=False)
    error = service.tick().error
    assert word in error
    assert advice(service) in error
    assert service.sh(f"sha256sum {service.cert} {service.key}", check=False) == before
    assert service.served() == old


def test_what_a_killed_tick_left_never_meets_the_key_of_a_later_mint(service: Service) -> None:
    service.sh(f"cp -a {service.cert} {CERT_DIR}/.{service.fqdn}.pem.prev")
    service.mint()
    before = service.pair()
    service.write("/etc/nginx/conf.d/broken.conf", "nonsense;\n")
    try:
        assert "cannot be reloaded" in service.tick().error
    finally:
        service.sh("rm /etc/nginx/conf.d/broken.conf")
    assert service.pair() == before
    assert service.tick().ok
    assert service.served() == service.on_disk()
    assert service.leftovers() == ""


def test_a_certificate_for_other_names_is_left_to_a_person(make: MakeService) -> None:
    service = make()
    service.mint(fqdn="other.internal")
    error = service.tick().error
    assert f"is not for {service.fqdn}" in error
    assert advice(service) in error


@pytest.mark.parametrize("first", [True, False], ids=["first-mint", "replacement"])
def test_a_mint_that_was_cut_between_its_moves_is_finished(make: MakeService, first: bool) -> None:
    service = make()
    if not first:
        served(service)
    staged = f"{CERT_DIR}/.{service.fqdn}.pem.new"
    service.mint(cert=staged, key=f"{KEY_DIR}/.{service.fqdn}.pem.new")
    service.sh(f"mv -T {KEY_DIR}/.{service.fqdn}.pem.new {service.key}")
    minted = service.sh(f"openssl x509 -noout -serial -in {staged}").strip()
    tick = service.tick()
    assert tick.ok
    assert "a mint had moved in the new key only" in tick.lines[0]
    assert service.on_disk() == minted
    assert service.leftovers() == ""
    if not first:
        assert service.served() == minted


def test_a_mint_that_was_cut_before_its_moves_is_left_alone(service: Service) -> None:
    before = service.pair()
    service.mint(cert=f"{CERT_DIR}/.{service.fqdn}.pem.new", key=f"{KEY_DIR}/.{service.fqdn}.pem.new")
    assert service.tick().ok
    assert service.pair() == before


# Killed, and several at once.

KILLED = [
    # The command of the tick, the condition on its arguments, and what happens at its turn.
    ("step", '[ "$1" = ca ]', "die"),
    ("step", '[ "$1" = ca ]', '$real "$@"; truncate -s 700 $staged; die'),
    ("step", '[ "$1" = ca ]', '$real "$@"; die'),
    ("cp", "true", '$real "$@"; die'),
    ("ln", "true", "die"),
    ("ln", "true", '$real "$@"; die'),
    ("mv", "true", '$real "$@"; die'),
    ("sync", '[ "$1" = $folder ]', '$real "$@"; die'),
    ("nginx", "[ -e $prev ]", "die"),
    ("systemctl", '[ "$1" = reload ]', "die"),
    ("systemctl", '[ "$1" = reload ]', '$real "$@"; die'),
]


def test_a_tick_that_is_killed_at_any_moment_leaves_a_whole_pair_and_the_next_one_heals(
    service: Service,
) -> None:
    for command, condition, happens in KILLED:
        moment = f"{command}: {happens}"
        service.stub(
            command,
            f"folder={CERT_DIR} staged={CERT_DIR}/.{service.fqdn}.pem.tick"
            f" prev={CERT_DIR}/.{service.fqdn}.pem.prev\n"
            "die() { rm /run/kill-it; "
            f"/usr/bin/systemctl kill --signal=KILL {service.unit}; sleep 9; }}\n"
            f'[ -e /run/kill-it ] && {condition} || exec $real "$@"\n{happens}',
        )
        service.force()
        service.sh("touch /run/kill-it")
        killed = service.tick()
        assert not killed.ok, moment
        assert killed.lines == [], moment
        assert service.sh("ls /run/kill-it", check=False) == "", moment
        service.sh(
            f"openssl verify -CAfile {ROOT} -untrusted {service.cert} {service.cert} &&"
            f' [ "$(openssl x509 -in {service.cert} -noout -pubkey)" ='
            f' "$(openssl pkey -in {service.key} -pubout)" ]'
        )
        healed = service.tick()
        assert healed.ok, (moment, healed.lines)
        assert service.served() == service.on_disk(), moment
        assert service.leftovers() == "", moment
        service.unstub()


def test_a_tick_that_is_stopped_says_so(make: MakeService) -> None:
    service = served(make(), DUE)
    before = service.pair()
    service.stub(
        "step",
        f'[ "$1" != ca ] || {{ /usr/bin/systemctl kill --signal=TERM {service.unit}; sleep 9; }}\nexec $real "$@"',
    )
    tick = service.tick()
    assert not tick.ok
    # Beside it, the shell says by itself that a command of its was terminated.
    assert len(tick.errors) == 1
    assert "stopped before its end" in tick.errors[0]
    assert service.pair() == before
    assert service.leftovers() == ""


def test_two_ticks_at_once_renew_once(service: Service) -> None:
    service.force()
    said = service.sh(
        f"cd /; for i in 1 2; do {HELPER} {service.name} 2>/run/said.$i || touch /run/bad & done;"
        " wait; cat /run/said.*; rm /run/said.*; ! rm /run/bad 2>/dev/null"
    )
    assert said.count("renewed until") == 1
    assert service.served() == service.on_disk()


def test_a_tick_waits_for_an_operator_and_names_one_that_is_stuck(service: Service) -> None:
    lock = f"/run/meshfab/{service.name}.lock"
    hold = f"systemd-run --quiet --unit=holder --collect flock {lock} sh -c"
    service.force()
    service.sh(f"{hold} 'echo provision by ops@laptop > {lock}; sleep 1.5'; sleep 0.3")
    began = time.monotonic()
    assert service.tick().ok
    assert time.monotonic() - began > 1
    service.sh(f"{hold} 'echo provision by ops@laptop > {lock}; sleep 60'; sleep 0.3")
    try:
        service.stub("flock", 'shift 2; exec $real -w 0.5 "$@"')
        assert "is held by provision by ops@laptop" in service.tick().error
    finally:
        service.sh("systemctl stop holder")


def test_a_hundred_services_that_renew_at_once_share_a_few_reloads(make: MakeService) -> None:
    count = 100
    services = [make(name=f"many-{number}") for number in range(count)]
    one = services[0]
    one.sh("sh", stdin=many_pairs(services))
    one.conf(
        "".join(
            f"server {{ listen 443 ssl; server_name {service.fqdn};"
            f" ssl_certificate {service.cert}; ssl_certificate_key {service.key}; }}\n"
            for service in services
        )
    )
    one.reload_nginx()
    before = one.reloads()
    began = time.monotonic()
    one.sh(
        "for i in $(seq 0 99); do : >/run/meshfab/many-$i.force; done;"
        " seq 0 99 | xargs -P 40 -I+ systemctl start step@many-+"
    )
    took = time.monotonic() - began
    assert 1 <= one.reloads() - before <= took / 3 + 1
    # A handshake for each, and the first certificate of either side compared as text.
    leaf = "sed -n '/BEGIN CERT/,/END CERT/{p;/END CERT/q}'"
    stale = one.sh(
        "for i in $(seq 0 99); do"
        " wire=$(openssl s_client -connect 127.0.0.1:443 -servername many-$i.internal -no-CAfile"
        f" -no-CApath </dev/null 2>/dev/null | {leaf});"
        f' [ "$wire" = "$({leaf} {CERT_DIR}/many-$i.internal.pem)" ] || echo many-$i; done'
    )
    assert stale == ""


# The units.


def test_the_units_are_clean(equipped: None) -> None:  # noqa: ARG001
    said = hosts.run("h2", "systemd-analyze verify step@web-1.service step@web-1.timer")
    assert said.stdout + said.stderr == ""
    score = hosts.run("h2", "systemd-analyze security step@web-1.service | tail -n 1").stdout
    quoted = hosts.run("h2", "grep 'systemd-analyze security' /etc/systemd/system/step@.service")
    number = score.split(": ")[1].split()[0]
    assert number in quoted.stdout


def test_the_timer_ticks_every_quarter_of_an_hour_and_remembers_its_last_success(
    service: Service,
) -> None:
    service.sh(f"systemctl --no-reload enable --now step@{service.name}.timer")
    try:
        now, due = (
            int(service.sh(command))
            for command in (
                "date +%s",
                f'date +%s -d "$(systemctl show -P NextElapseUSecRealtime step@{service.name}.timer)"',
            )
        )
        assert 0 <= due - now <= 20 * 60
        assert service.tick().ok
        show = f"systemctl show -P Result -P ExecMainExitTimestamp {service.unit}"
        result, at = service.sh(show).splitlines()
        assert (result, bool(at)) == ("success", True)
    finally:
        service.sh(f"systemctl disable --now step@{service.name}.timer")


def test_a_failure_can_alert_the_operator(service: Service) -> None:
    drop_in = "/etc/systemd/system/step@.service.d"
    alert = "/etc/systemd/system/mesh-alert@.service"
    service.write(f"{drop_in}/alert.conf", "[Unit]\nOnFailure=mesh-alert@%n.service\n")
    service.write(alert, "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >>/run/alerted'\n")
    service.sh("systemctl daemon-reload")
    try:
        service.sh(f": >{service.cert}")
        assert not service.tick().ok
        service.sh("for i in $(seq 50); do [ ! -s /run/alerted ] || exit 0; sleep 0.02; done")
        assert service.sh("cat /run/alerted").strip() == service.unit
    finally:
        service.sh(f"rm -rf {drop_in} {alert} /run/alerted; systemctl daemon-reload")


def advice(service: Service) -> str:
    host = hosts.run(service.host, "uname -n").stdout.strip()
    return f"run: inv provision --name {service.name} --host {host}"


def age_of_the_ca() -> float:
    issuer = x509.load_pem_x509_certificate((layout.current().ca / "certs/intermediate_ca.crt").read_bytes())
    return (datetime.datetime.now(datetime.timezone.utc) - issuer.not_valid_before_utc).total_seconds()


class Clients:
    """A client in a loop that trusts only the mesh's root and asks for the name."""

    def __init__(self, service: Service) -> None:
        self.failures: list[str] = []
        self.served = 0
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        context = ssl.create_default_context(cafile=str(layout.current().root))
        address = hosts.address(self._service.host)
        while not self._stop.wait(0.02):
            try:
                with (
                    socket.create_connection((address, 443), timeout=5) as link,
                    context.wrap_socket(link, server_hostname=self._service.fqdn),
                ):
                    self.served += 1
            except OSError as error:
                self.failures.append(repr(error))


def many_pairs(services: list[Service]) -> str:
    """A shell script that writes a pair for each, signed with the CA's own key and not by request.

    Such a certificate names no provisioner, and the CA renews it as one of its own.
    """
    authority = layout.current().ca
    issuer = x509.load_pem_x509_certificate((authority / "certs/intermediate_ca.crt").read_bytes())
    signer = serialization.load_pem_private_key(
        (authority / "secrets/intermediate_ca_key").read_bytes(),
        (authority / "password").read_text().strip().encode(),
    )
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.timezone.utc)
    script = [f"mkdir -p {CERT_DIR} {KEY_DIR}"]
    for service in services:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service.fqdn)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(service.fqdn)]), False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                False,
            )
            .sign(signer, hashes.SHA256())
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM) + issuer.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        script += [
            f"printf %s {shlex.quote(text.decode())} >{path}"
            for text, path in ((chain, service.cert), (private, service.key))
        ]
    return "\n".join(script)
