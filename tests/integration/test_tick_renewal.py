"""The renewal tick when nothing is broken: when it renews, what it keeps, and how many services share the work."""

from __future__ import annotations

import datetime
import shlex
import socket
import ssl
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab import layout
from lab.services import hosts
from tests.integration import tick_service
from tests.integration.service_on_host import CERT_DIR, KEY_DIR
from tests.integration.tick_service import DUE, RUN_DIR

if TYPE_CHECKING:
    from tests.integration.tick_service import MakeService, Service

pytestmark = pytest.mark.lab

installed_units, make, service = tick_service.installed_units, tick_service.make, tick_service.service


def test_without_a_certificate_a_tick_does_nothing(make: MakeService) -> None:
    service = make()
    before = hosts.checksum(service.host)
    tick = service.tick()
    assert tick.ok
    assert tick.lines == [f"{service.fqdn}: no certificate at {service.cert} yet: nothing to do"]
    assert hosts.checksum(service.host) == before


def test_a_link_to_a_certificate_that_does_not_exist_yet_is_followed(make: MakeService) -> None:
    service = make()
    service.sh(f"mkdir -p {CERT_DIR}; ln -s /srv/later/cert.pem {service.cert}")
    tick = service.tick()
    assert tick.ok
    assert tick.lines == [f"{service.fqdn}: no certificate at /srv/later/cert.pem yet: nothing to do"]


def test_a_tick_that_is_not_due_writes_nothing_and_logs_nothing(service: Service) -> None:
    service.tick()
    before = service.pair_state(), service.workers()
    # The clock of a file system is coarse: go on when a new file has a later time than the mark.
    # Both files are made first: a new file in it would make /run itself newer.
    service.sh("touch /run/now /run/mark; touch /run/mark")
    service.sh('until [ -n "$(touch /run/now; find /run/now -newer /run/mark)" ]; do :; done')
    tick = service.tick()
    assert tick.ok
    assert tick.lines == []
    assert (service.pair_state(), service.workers()) == before
    # systemd creates the unit's /dev in a temporary folder of /tmp and removes it.
    written = "find / -xdev -newer /run/mark -not -path /tmp -not -path '/var/log/*'"
    assert service.sh(written) == ""


@pytest.mark.parametrize("host", ["h1", "h2"], ids=["debian", "fedora"])
def test_a_certificate_that_is_due_is_renewed_and_served(make: MakeService, host: str) -> None:
    service = make(host).serve(DUE)
    service.sh(f"chown daemon:adm {service.cert}; chmod 0604 {service.cert}")
    service.sh(f"setfacl -m u:nobody:r {service.cert}")
    before, old, reloads = service.attributes(), service.serial_on_disk(), service.reloads()
    tick = service.tick()
    assert tick.ok
    assert len(tick.lines) == 1
    assert ": renewed until " in tick.lines[0]
    assert service.served_serial() == service.serial_on_disk() != old
    assert service.attributes() == before
    assert service.reloads() == reloads + 1
    assert service.leftovers() == ""
    assert service.sh(f"cat /var/lib/meshfab/{service.name}.last")


def test_a_renewal_can_be_forced_once(service: Service) -> None:
    old = service.serial_on_disk()
    service.force()
    assert service.tick().ok
    forced = service.serial_on_disk()
    assert forced != old
    assert service.tick().ok
    assert service.serial_on_disk() == forced == service.served_serial()


@pytest.mark.slow
def test_ten_renewals_under_load_keep_every_attribute_and_fail_no_client(service: Service) -> None:
    before = service.attributes()
    serials = {service.serial_on_disk()}
    with Clients(service) as clients:
        for _ in range(10):
            service.force()
            assert service.tick().ok
            serials.add(service.served_serial())
            clients.wait_for_more(6)
    assert len(serials) == 11
    assert service.attributes() == before
    assert clients.failures == []
    assert clients.handshakes > 50


def test_the_settings_of_a_service_are_used(make: MakeService) -> None:
    service = make(cert="/srv/tls/own.pem", key="/srv/tls/private/own.pem").serve()
    service.write(
        f"/etc/meshfab/{service.name}.env",
        f"MESHFAB_CERT={service.cert}\nMESHFAB_KEY={service.key}\nMESHFAB_MTLS=false\n"
        f"MESHFAB_CA_URL=https://{layout.CA_ADDRESS}\n",
    )
    old = service.serial_on_disk()
    service.force()
    tick = service.tick()
    assert tick.ok, tick.lines
    assert service.served_serial() == service.serial_on_disk() != old


@pytest.mark.slow
def test_a_hundred_services_that_renew_at_once_share_a_few_reloads(make: MakeService) -> None:
    services = [make(name=f"many-{number}") for number in range(100)]
    first = services[0]
    first.sh("sh", stdin=signed_pairs_script(services))
    first.write_config(
        "".join(
            f"server {{ listen 443 ssl; server_name {service.fqdn};"
            f" ssl_certificate {service.cert}; ssl_certificate_key {service.key}; }}\n"
            for service in services
        )
    )
    first.reload_nginx()
    before = first.reloads()
    # The time of the mark that a tick leaves before it reloads.
    first.stub(
        "systemctl",
        f'[ "$1" != reload ] || stat -c %.Y {RUN_DIR}/.nginx.reloaded >>/run/reload-times\nexec $real "$@"',
    )
    first.sh(
        f"rm -f {RUN_DIR}/.nginx.reloaded /run/reload-times;"
        f" for i in $(seq 0 99); do : >{RUN_DIR}/many-$i.force; done;"
        " seq 0 99 | xargs -P 40 -I+ systemctl start step@many-+"
    )
    times = [float(time) for time in first.sh("cat /run/reload-times; rm /run/reload-times").split()]
    assert 1 <= len(times) == first.reloads() - before
    # The clock of the marks is coarse (the kernel's tick).
    assert all(later - earlier > 2.98 for earlier, later in pairwise(times)), times
    # A handshake with each, and the first certificate of either side compared as text.
    leaf = "sed -n '/BEGIN CERT/,/END CERT/{p;/END CERT/q}'"
    stale = first.sh(
        "for i in $(seq 0 99); do"
        " served=$(openssl s_client -connect 127.0.0.1:443 -servername many-$i.internal -no-CAfile"
        f" -no-CApath </dev/null 2>/dev/null | {leaf});"
        f' [ "$served" = "$({leaf} {CERT_DIR}/many-$i.internal.pem)" ] || echo many-$i; done'
    )
    assert stale == ""


class Clients:
    """A client in a loop that trusts only the mesh's root and asks for the service's name."""

    def __init__(self, service: Service) -> None:
        self.failures: list[str] = []
        self.handshakes = 0
        self._service = service
        self._progress = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, count: int) -> None:
        """Wait for more handshakes, or for a failure."""
        with self._progress:
            wanted = self.handshakes + count
            assert self._progress.wait_for(lambda: self.handshakes >= wanted or self.failures, timeout=60)

    def _loop(self) -> None:
        context = ssl.create_default_context(cafile=str(layout.current().root))
        address = hosts.address(self._service.host)
        while not self._stop.wait(0.02):
            failure = None
            try:
                with (
                    socket.create_connection((address, 443), timeout=5) as connection,
                    context.wrap_socket(connection, server_hostname=self._service.fqdn),
                ):
                    pass
            except OSError as error:
                failure = repr(error)
            with self._progress:
                if failure:
                    self.failures.append(failure)
                else:
                    self.handshakes += 1
                self._progress.notify_all()


def signed_pairs_script(services: list[Service]) -> str:
    """A shell script that writes a pair for each service, signed with the CA's key and without a request.

    Such a certificate names no provisioner, and the CA renews it like its own.
    """
    authority = layout.current().ca
    issuer = x509.load_pem_x509_certificate((authority / "certs/intermediate_ca.crt").read_bytes())
    signer = serialization.load_pem_private_key(
        (authority / "secrets/intermediate_ca_key").read_bytes(),
        (authority / "password").read_text().strip().encode(),
    )
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.timezone.utc)
    script = [f"mkdir -p {CERT_DIR} {KEY_DIR} && mkdir -p -m 0700 {RUN_DIR}"]
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
