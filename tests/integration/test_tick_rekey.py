"""The tick keeps the history of a pair, and replaces its key: no copy of an earlier pair renews after that."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from lab import layout
from lab.faults import faults
from meshfab.host import certificate, history
from tests.integration import tick_service
from tests.integration.service_on_host import CERT_DIR, KEY_DIR
from tests.integration.tick_service import DUE, ROOT, RUN_DIR

if TYPE_CHECKING:
    from tests.integration.tick_service import MakeService, Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service

CA = f"--ca-url {layout.CA_URL} --root {ROOT}"


def request_rekey(service: Service) -> None:
    service.sh(f"mkdir -p -m 0700 {RUN_DIR}; touch {RUN_DIR}/{service.name}.rekey")


def lines(service: Service) -> list[str]:
    return service.sh(f"cat /var/lib/meshfab/{service.name}.history", check=False).splitlines()


def generations(service: Service) -> tuple[history.Generation, ...]:
    parsed = history.parse("\n".join(lines(service)))
    assert parsed.unreadable == 0
    return parsed.generations


def disk(service: Service) -> certificate.Leaf:
    return certificate.read_leaf(service.sh(f"cat {service.cert}"))


def keep_copy(service: Service, number: int) -> None:
    """What a thief has."""
    service.sh(
        f"mkdir -p /run/thief; cp {service.cert} /run/thief/cert{number}; cp {service.key} /run/thief/key{number}"
    )


def renews(service: Service, number: int) -> bool:
    """Whether the CA renews a copy."""
    renew = f"step ca renew --force {CA} --out /run/thief/new /run/thief/cert{number} /run/thief/key{number}"
    output = service.sh(f"{renew} 2>&1 || :")
    assert ("saved in" in output) != ("authorization" in output), output
    return "saved in" in output


# The history.


def test_the_tick_records_the_certificate_that_it_finds_and_the_one_that_it_gets(service: Service) -> None:
    found = disk(service)
    assert service.tick().lines == []
    assert lines(service) == [history.line(found)], "the host and Python write the same line"
    service.force()
    assert service.tick().ok
    renewed = disk(service)
    assert lines(service) == [history.line(found), history.line(renewed)]
    assert service.tick().ok
    assert len(lines(service)) == 2
    assert service.sh(f"stat -c '%U:%G %a' /var/lib/meshfab /var/lib/meshfab/{service.name}.history") == (
        "root:root 700\nroot:root 600\n"
    )


def test_a_full_var_delays_no_renewal_and_the_next_tick_records_it(make: MakeService) -> None:
    service = make().serve(DUE)
    service.sh("mkdir -p -m 0700 /var/lib/meshfab")
    faults.fill(service.host, "/var/lib/meshfab")
    try:
        old = service.serial_on_disk()
        tick = service.tick()
        assert tick.ok
        assert service.served_serial() == service.serial_on_disk() != old
        assert sum("not recorded in" in line for line in tick.lines) == 1, tick.lines
        assert lines(service) == []
    finally:
        faults.free(service.host, "/var/lib/meshfab")
    unrecorded = disk(service)
    assert service.tick().ok
    assert [generation.serial for generation in generations(service)] == [unrecorded.serial, disk(service).serial]


# A re-key.


def test_after_a_rekey_no_copy_of_an_earlier_pair_renews(service: Service) -> None:
    attributes = service.attributes().rsplit("\n", 3)[0]
    keep_copy(service, 1)
    service.force()
    assert service.tick().ok
    keep_copy(service, 2)
    for number in (3, 4):
        old = disk(service)
        request_rekey(service)
        tick = service.tick()
        assert tick.ok, tick.lines
        assert "new key, valid until" in tick.lines[-1]
        assert "the CA has revoked the old key's certificates" in tick.lines[-1]
        assert history.digest(disk(service)) != history.digest(old)
        assert service.served_serial() == service.serial_on_disk()
        assert service.leftovers() == ""
        assert service.attributes().rsplit("\n", 3)[0] == attributes
        keep_copy(service, number)
        assert [renews(service, copy) for copy in range(1, number + 1)] == [False] * (number - 1) + [True]
        *earlier, last = generations(service)
        assert all(generation.is_revoked for generation in earlier)
        assert not last.is_revoked
        assert last.serial == disk(service).serial
    assert service.sh(f"ls /var/lib/meshfab/{service.name}.past") == ""


def test_a_key_is_replaced_at_its_age_and_not_at_that_of_its_file(service: Service) -> None:
    service.write(f"/etc/meshfab/{service.name}.env", "MESHFAB_REKEY_AFTER=86400\n")
    assert service.tick().lines == []
    first = lines(service)[0].split(" ")
    first[0], first[1] = "0A", str(int(first[1]) - 86400)
    service.write(f"/var/lib/meshfab/{service.name}.history", " ".join(first) + "\n", "0600")
    service.sh(f"touch {service.key}")
    old = disk(service)
    tick = service.tick()
    assert tick.ok
    assert "new key, valid until" in tick.lines[-1]
    assert "not revoked, as its certificate was not kept: serial 0A" in tick.lines[0]
    assert [(each.serial == old.serial, each.is_revoked) for each in generations(service)] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    assert service.tick().lines == []


def test_a_ca_that_is_down_keeps_the_pair(service: Service) -> None:
    before, old = service.pair_state(), service.served_serial()
    request_rekey(service)
    faults.ca_stop()
    try:
        assert f"not re-keyed: the CA at {layout.CA_URL} cannot be reached" in service.tick().error
    finally:
        faults.ca_start()
    assert (service.pair_state(), service.served_serial(), service.leftovers()) == (before, old, "")


@pytest.mark.parametrize("folder", [CERT_DIR, KEY_DIR], ids=["certificates", "keys"])
def test_a_full_disk_keeps_the_pair(service: Service, folder: str) -> None:
    faults.fill(service.host, folder)
    try:
        before, old = service.pair_state(), service.served_serial()
        request_rekey(service)
        assert "not re-keyed: " in service.tick().error
        assert (service.pair_state(), service.served_serial(), service.leftovers()) == (before, old, "")
    finally:
        faults.free(service.host, folder)


def test_a_broken_configuration_keeps_the_pair(service: Service) -> None:
    before, old = service.pair_state(), service.served_serial()
    with service.broken_config():
        request_rekey(service)
        assert "not re-keyed, because nginx's configuration is broken" in service.tick().error
    assert (service.pair_state(), service.served_serial(), service.leftovers()) == (before, old, "")


def test_a_configuration_that_breaks_meanwhile_brings_the_old_pair_back(service: Service) -> None:
    before, old = service.sh(f"sha256sum {service.cert} {service.key}"), service.served_serial()
    break_nginx = "echo nonsense >/etc/nginx/conf.d/broken.conf"
    service.stub("step", f'$real "$@"; status=$?; [ "$2" != rekey ] || {break_nginx}; exit $status')
    request_rekey(service)
    try:
        assert "the new key was taken back, because nginx's configuration is broken" in service.tick().error
    finally:
        service.sh("rm /etc/nginx/conf.d/broken.conf")
    service.unstub()
    assert (service.sh(f"sha256sum {service.cert} {service.key}"), service.served_serial()) == (before, old)
    assert service.leftovers() == ""
    assert service.tick().ok


def test_a_revocation_that_failed_is_repeated_before_another_rekey(service: Service) -> None:
    keep_copy(service, 1)
    service.stub("step", '[ "$2" != revoke ] || { echo "the CA is out"; exit 1; }\nexec $real "$@"')
    request_rekey(service)
    assert "has not revoked the key before the last re-key: the CA is out" in service.tick().error
    assert service.served_serial() == service.serial_on_disk()
    once = service.serial_on_disk()
    request_rekey(service)
    assert "not re-keyed: the CA has not revoked the key before this one" in service.tick().error
    assert service.serial_on_disk() == once
    # The CA has done it, and its answer was lost.
    service.stub("step", '[ "$2" != revoke ] || { $real "$@"; exit 1; }\nexec $real "$@"')
    assert not service.tick().ok
    service.unstub()
    tick = service.tick()
    assert tick.ok, tick.lines
    assert service.leftovers() == ""
    assert not renews(service, 1)
    assert [each.is_revoked for each in generations(service)] == [True, False]


def test_a_ca_without_mtls_does_not_rekey(service: Service) -> None:
    service.write(f"/etc/meshfab/{service.name}.env", "MESHFAB_MTLS=false\n")
    before = service.pair_state()
    request_rekey(service)
    assert "the CA re-keys over mTLS only" in service.tick().error
    assert service.pair_state() == before


KILLED = [
    # A command of the tick, a condition on its arguments, and what happens then.
    ("step", '[ "$2" = rekey ]', "die"),
    ("step", '[ "$2" = rekey ]', '$real "$@"; die'),
    ("cp", "true", '$real "$@"; die'),
    ("ln", '[ "$2" = $key ]', '$real "$@"; die'),
    ("ln", '[ "$2" = $cert ]', '$real "$@"; die'),
    ("mv", '[ "$3" = $minted ]', '$real "$@"; die'),
    ("mv", '[ "$3" = $key ]', "die"),
    ("mv", '[ "$3" = $key ]', '$real "$@"; die'),
    ("mv", '[ "$3" = $cert ]', '$real "$@"; die'),
    ("nginx", "[ -e $replaced ]", "die"),
    ("systemctl", '[ "$1" = reload ]', "die"),
    ("systemctl", '[ "$1" = reload ]', '$real "$@"; die'),
    ("step", '[ "$2" = revoke ]', "die"),
    ("step", '[ "$2" = revoke ]', '$real "$@"; die'),
    ("rm", 'case "$*" in *replaced*) ;; *) false ;; esac', "die"),
]


@pytest.mark.slow
def test_a_rekey_that_is_killed_at_any_step_leaves_a_valid_pair_and_the_next_tick_ends_it(service: Service) -> None:
    for command, condition, action in KILLED:
        step = f"{command} {condition}: {action}"
        keep_copy(service, 1)
        names = {
            "cert": service.cert,
            "key": service.key,
            "minted": f"{CERT_DIR}/.{service.fqdn}.pem.new",
            "replaced": f"{CERT_DIR}/.{service.fqdn}.pem.replaced",
        }
        service.stub(
            command,
            " ".join(f"{name}={shlex.quote(value)}" for name, value in names.items()) + "\ndie() { rm /run/kill-it; "
            # `systemctl kill` of systemd 262 would hit ExecStopPost=, too.
            f"kill -KILL $(/usr/bin/systemctl show -P MainPID {service.unit}); sleep 9; }}\n"
            f'[ -e /run/kill-it ] && {condition} || exec $real "$@"\n{action}',
        )
        request_rekey(service)
        service.sh("touch /run/kill-it")
        assert not service.tick().ok, step
        assert service.sh("ls /run/kill-it", check=False) == "", step
        assert service.sh("nginx -t 2>&1 >/dev/null || echo refused").count("refused") == 0, step
        repaired = service.tick()
        assert repaired.ok, (step, repaired.lines)
        assert service.served_serial() == service.serial_on_disk(), step
        assert service.leftovers() == "", step
        service.unstub()
        *earlier, last = generations(service)
        assert last.serial == disk(service).serial, step
        assert all(each.is_revoked for each in earlier), step
        copy = certificate.read_leaf(service.sh("cat /run/thief/cert1"))
        assert renews(service, 1) == (last.key_digest == history.digest(copy)), step
