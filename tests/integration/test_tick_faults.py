"""The renewal tick when the CA or the pair is broken: the pair is kept, and one line says why and what to do."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from lab import layout
from lab.faults import faults
from lab.services import ca
from tests.integration import tick_service
from tests.integration.service_on_host import CERT_DIR, KEY_DIR
from tests.integration.tick_service import DUE, ROOT

if TYPE_CHECKING:
    from tests.integration.tick_service import MakeService, Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service


# The CA is broken.


def test_a_ca_that_is_down_for_some_ticks_needs_no_operator(make: MakeService) -> None:
    service = make().serve(DUE)
    before, old = service.pair_state(), service.serial_on_disk()
    faults.ca_stop()
    try:
        for _ in range(2):
            error = service.tick().error
            assert f"the CA at {layout.CA_URL} cannot be reached" in error
            assert "the next tick tries again" in error
        assert service.pair_state() == before
    finally:
        faults.ca_start()
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk() != old


def test_a_ca_that_never_answers_does_not_block_the_tick(make: MakeService) -> None:
    service = make().serve(DUE)
    before = service.pair_state()
    service.stub("timeout", 'case $* in 60*) shift; exec $real 0.5 "$@" ;; esac; exec $real "$@"')
    faults.ca_pause()
    try:
        assert "cannot be reached (no answer within a minute)" in service.tick().error
    finally:
        faults.ca_resume()
    assert service.pair_state() == before


def test_a_removed_provisioner_is_told_from_a_ca_that_is_down(make: MakeService) -> None:
    service = make().serve(DUE)
    before = service.pair_state()
    provisioner = ca.remove_provisioner()
    try:
        assert "provisioner not found: the CA no longer has 'lair'" in service.tick().error
        assert service.pair_state() == before
    finally:
        ca.add_provisioner(provisioner)
    assert service.tick().ok


def test_a_revoked_certificate_needs_an_operator(make: MakeService) -> None:
    service = make().serve(DUE)
    service.sh(f"step ca revoke --cert {service.cert} --key {service.key} --ca-url {layout.CA_URL} --root {ROOT} 2>&1")
    error = service.tick().error
    assert "revoked" in error
    assert service.mint_command() in error


def test_a_wrong_root_is_named(make: MakeService) -> None:
    service = make().serve(DUE)
    wrong = f"/etc/meshfab/{service.name}.pem"
    service.write(f"/etc/meshfab/{service.name}.env", f"MESHFAB_ROOT={wrong}\n")
    service.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other"
        f" -keyout /dev/null -out {wrong} 2>&1"
    )
    before = service.pair_state()
    assert f"does not chain to {wrong}" in service.tick().error
    assert service.pair_state() == before


@pytest.mark.slow
def test_an_expired_certificate_needs_an_operator(make: MakeService) -> None:
    # The CA verifies an expired certificate as of a minute before its end, when its own intermediate must be valid.
    while age_of_the_ca() < datetime.timedelta(seconds=57):
        time.sleep(0.1)
    service = make().serve("5s")
    before = service.pair_state()
    end = f"$(openssl x509 -in {service.cert} -noout -enddate | cut -d = -f 2)"
    # The CA compares whole seconds, and renews during the last one.
    service.wait_for(f'[ "$(date +%s)" -gt "$(date +%s -d "{end}")" ]')
    error = service.tick().error
    assert "not renewed: it expired at" in error
    assert service.mint_command() in error
    assert service.pair_state() == before
    ca.set_claims(allowRenewalAfterExpiry=True)
    try:
        assert service.tick().ok, "a CA that allows it renews an expired certificate"
    finally:
        ca.set_claims(allowRenewalAfterExpiry=None)
    assert service.served_serial() == service.serial_on_disk()


def test_an_answer_of_the_ca_is_logged_as_text(make: MakeService) -> None:
    # A terminal would obey the escape character, journalctl would hide the line, and `echo` would obey the backslash.
    service = make().serve(DUE)
    service.stub("step", '[ "$1" != ca ] || { printf \'\\033[31mno \\\\c\\nway\\n\'; exit 1; }\nexec $real "$@"')
    assert service.tick().error.endswith(r"step ca renew failed with status 1: [31mno \c way")


# The sed command changes what OpenSSL says of the renewed certificate's end.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("s/ 20[0-9]* GMT/ 2001 GMT/", "it expires before the old one"),
        ("s/=.*/=Bad time value/", "its end or that of the old one cannot be read: 'Bad time value'"),
    ],
    ids=["earlier", "unreadable"],
)
def test_a_renewed_certificate_whose_end_is_wrong_is_not_installed(
    make: MakeService, change: str, message: str
) -> None:
    service = make().serve(DUE)
    before = service.pair_state()
    service.stub(
        "openssl",
        f'case "$*" in *.tick*-enddate*) $real "$@" | sed "/^notAfter=/{change}" ;; *) exec $real "$@" ;; esac',
    )
    assert message in service.tick().error
    assert service.pair_state() == before


def test_a_date_command_that_cannot_read_the_form_of_openssl_is_not_needed(make: MakeService) -> None:
    # uutils coreutils 0.0.30
    service = make().serve(DUE)
    service.stub("date", 'case "$*" in *GMT*) echo "date: invalid date" >&2; exit 1 ;; esac\nexec $real "$@"')
    tick = service.tick()
    assert tick.ok, tick.lines
    end = service.sh(
        f'/usr/bin/date -u +%Y-%m-%dT%H:%M:%SZ -d "$(openssl x509 -in {service.cert} -noout -enddate | cut -d = -f 2)"'
    )
    assert tick.lines == [f"{service.fqdn}: renewed until {end.strip()}"]
    assert service.served_serial() == service.serial_on_disk()


# The pair is broken, or its folder.


def test_a_folder_that_the_unit_must_not_write_is_named(make: MakeService) -> None:
    service = make(cert="/etc/own-tls/own.pem", key="/etc/own-tls/key/own.pem").serve(DUE)
    service.write(f"/etc/meshfab/{service.name}.env", f"MESHFAB_CERT={service.cert}\nMESHFAB_KEY={service.key}\n")
    before = service.pair_state()
    assert "add ReadWritePaths=/etc/own-tls to it in a drop-in" in service.tick().error
    assert service.pair_state() == before
    drop_in = f"/etc/systemd/system/{service.unit}.d"
    service.write(f"{drop_in}/paths.conf", "[Service]\nReadWritePaths=/etc/own-tls\n")
    service.sh("systemctl daemon-reload")
    try:
        assert service.tick().ok
    finally:
        service.sh(f"rm -r {drop_in}; systemctl daemon-reload")
    assert service.served_serial() == service.serial_on_disk()


def test_a_full_disk_keeps_the_pair_and_the_next_tick_renews(make: MakeService) -> None:
    service = make().serve(DUE)
    faults.fill(service.host, CERT_DIR)
    try:
        before, old = service.pair_state(), service.served_serial()
        assert f"no space left in {CERT_DIR}" in service.tick().error
        assert service.pair_state() == before
        assert service.served_serial() == old
        assert service.leftovers() == ""
    finally:
        faults.free(service.host, CERT_DIR)
    assert service.tick().ok
    assert service.served_serial() == service.serial_on_disk() != old


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (": > {cert}", "is empty, truncated or not a certificate"),
        ("truncate -s 700 {cert}", "is empty, truncated or not a certificate"),
        ("truncate -s 1200 {cert}", "is empty, truncated or not a certificate"),
        ("echo hello > {cert}", "is empty, truncated or not a certificate"),
        ("openssl ecparam -genkey -name prime256v1 -noout -out {key}", "does not belong to"),
        ("rm {key}", "is missing or is not a private key"),
    ],
    ids=["empty", "truncated-leaf", "truncated-chain", "not-pem", "mismatched", "no-key"],
)
def test_a_damaged_pair_is_not_touched(service: Service, damage: str, message: str) -> None:
    old = service.served_serial()
    service.sh(damage.format(cert=service.cert, key=service.key))
    before = service.sh(f"sha256sum {service.cert} {service.key}", check=False)
    error = service.tick().error
    assert message in error
    assert service.mint_command() in error
    assert service.sh(f"sha256sum {service.cert} {service.key}", check=False) == before
    assert service.served_serial() == old


def test_a_certificate_for_another_name_is_not_renewed(make: MakeService) -> None:
    service = make()
    service.mint(san="other.internal")
    error = service.tick().error
    assert f"is not for {service.fqdn}" in error
    assert service.mint_command() in error


@pytest.mark.parametrize("first", [True, False], ids=["first-mint", "replacement"])
def test_a_mint_that_was_interrupted_between_its_renames_is_finished(make: MakeService, first: bool) -> None:
    service = make()
    if not first:
        service.serve()
    staged = f"{CERT_DIR}/.{service.fqdn}.pem.new"
    service.mint(cert=staged, key=f"{KEY_DIR}/.{service.fqdn}.pem.new")
    service.sh(f"mv -T {KEY_DIR}/.{service.fqdn}.pem.new {service.key}")
    minted = service.sh(f"openssl x509 -noout -serial -in {staged}").strip()
    tick = service.tick()
    assert tick.ok
    assert "an interrupted mint had replaced only the key" in tick.lines[0]
    assert service.serial_on_disk() == minted
    assert service.leftovers() == ""
    if not first:
        assert service.served_serial() == minted


def test_a_mint_that_was_interrupted_before_its_renames_is_not_touched(service: Service) -> None:
    before = service.pair_state()
    service.mint(cert=f"{CERT_DIR}/.{service.fqdn}.pem.new", key=f"{KEY_DIR}/.{service.fqdn}.pem.new")
    assert service.tick().ok
    assert service.pair_state() == before


def age_of_the_ca() -> datetime.timedelta:
    intermediate = x509.load_pem_x509_certificate((layout.current().ca / "certs/intermediate_ca.crt").read_bytes())
    return datetime.datetime.now(datetime.timezone.utc) - intermediate.not_valid_before_utc
