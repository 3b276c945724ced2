"""Answers of the largest size, made to cost as much as they can: judged within bounds, or given up in one line."""

from __future__ import annotations

import functools
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from meshfab.config.service import Service
from meshfab.host import certificate, certificate_chain, renewal_units
from meshfab.ssh.shell_channel import MAX_ANSWER
from tests.support.certificates import HOUR, NOW, SETTINGS, authority, distinguished_name, good_pair, pem_of
from tests.support.fake_host import NGINX_CONF, acl, unit
from tests.support.judged_host import cheap, fields, files, judge, small

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = [Service.of(f"s{number}", SETTINGS) for number in range(200)]
NAMES = " ".join(service.fqdn for service in SERVICES)
FOUND = " ".join(service.name for service in SERVICES)


def many(text: str, size: int) -> bytes:
    """The text again and again, of the size in bytes."""
    raw = text.encode()
    return (raw * (size // len(raw) + 1))[:size]


def host(**values: bytes) -> bytes:
    """A host that claims 200 services and answers these fields."""
    base = {"now": b"%d" % NOW.timestamp(), "found": FOUND.encode(), "vhosted": FOUND.encode(), "nginx.sites": b"yes"}
    return fields({**base, **{key.replace("_", "."): value for key, value in values.items()}})


def nginx(text: str, size: int = 3 * 1024 * 1024) -> bytes:
    """A host whose nginx prints this text again and again, as one file."""
    return host(nginx_conf=(b"# configuration file /etc/nginx/nginx.conf:\n" + many(text, size))[:size])


def nginx_files(number: int, text: str) -> bytes:
    """A host whose nginx has many files; `@` stands for the number of each."""
    conf = "".join(
        f"# configuration file /etc/nginx/{index}:\n{text.replace('@', str(index))}\n" for index in range(number)
    )
    return host(nginx_conf=conf.encode()[: 3 * 1024 * 1024])


def under_each_key(text: str) -> bytes:
    """The same file named as every file of every service."""
    kinds = ("cert", "staged", "vhost:/a", "vhost:/b", "vhost:/c")
    return host(**files({"/f": text}, {f"{service.name}/{kind}": "/f" for service in SERVICES for kind in kinds}))


def as_certificate(texts: list[str], root: str = "") -> bytes:
    """Each service has a certificate file of its own."""
    texts_by_path = {service.cert: text for service, text in zip(SERVICES, texts, strict=False)}
    keys = {f"{service.name}/cert": service.cert for service in SERVICES[: len(texts)]}
    return host(**files(texts_by_path, keys), root=root.encode())


def server(directives: str) -> str:
    return f"server {{ listen 443 ssl; server_name {NAMES}; {directives} }}\n"


@functools.cache
def chain(curve: str = "SECP521R1") -> str:
    """Issuers that all have the same name and are quickly made, and slowly checked."""
    key = ec.generate_private_key(getattr(ec, curve)())
    name = distinguished_name("Mesh")
    pem = ""
    for serial in range(1, 6):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(NOW - HOUR)
            .not_valid_after(NOW + HOUR)
            .add_extension(x509.BasicConstraints(True, None), True)
        )
        pem += pem_of(builder.sign(key, hashes.SHA512()))
    return pem


def headers(text: str) -> bytes:
    """Each service has a vhost of its own with this text."""
    keys = {f"{service.name}/vhost:/v": f"/v{number}" for number, service in enumerate(SERVICES)}
    return host(**files(dict.fromkeys(keys.values(), text), keys))


def leaf(sans: list[str], *, serial: int = 7, names: int = 1, issuer: str = "Mesh") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")] * names)
    key = good_pair().key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(distinguished_name(issuer))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(san) for san in sans]), False)
    )
    return pem_of(builder.sign(authority().intermediate.key, hashes.SHA256()))


# Each makes an answer of up to 8 MiB.
ATTACKS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "newlines": lambda: b"\n" * MAX_ANSWER,
    "a key without end": lambda: b"a" * MAX_ANSWER,
    "many small fields": lambda: b"".join(b"%x 0\n\n" % number for number in range(MAX_ANSWER // 10)),
    "a large field": lambda: fields({"found": many("a ", MAX_ANSWER - 100)}),
    "names": lambda: host(found=b" ".join(b"n%d" % number for number in range(60_000))),
    "rows of keys": lambda: host(keys=many("a /f\n", 1024 * 1024)),
    "rows of texts": lambda: host(texts=b"\n" * (MAX_ANSWER - 8000)),
    "one file under each key": lambda: under_each_key("x\n" * 15_000),
    "units": lambda: host(units=many("Id=a\n\n", 1024 * 1024)),
    "properties of a unit": lambda: host(units=b"".join(b"%x=\n" % number for number in range(200_000))[: 1024 * 1024]),
    "a long property": lambda: host(units=b"Id=step@s1.timer\nActiveState=" + b"a" * 1_000_000),
    "stats": lambda: host(stats=b"".join(b"%x|||0\n" % number for number in range(80_000))[: 1024 * 1024]),
    "digests": lambda: host(digests=b"\n".join(b"%064x  /%x" % (number, number) for number in range(14_000))),
    "addresses of names": lambda: host(resolved=b"".join(b"s1 10.%d.%d.1\n" % divmod(n, 256) for n in range(60_000))),
    "addresses of the host": lambda: host(addresses=many("10.0.0.1 ", 500_000)),
    "secrets": lambda: host(secrets=b"".join(b"/tmp/%x-provisioner\n" % number for number in range(20_000))),
    "tools": lambda: host(tools=many("/usr/bin/a\n", 500_000)),
    "an ACL": lambda: host(**{"s1/acl": many("u:a:r\n", 500_000), "s1/public": b"x", "stats": b"/|||0"}),
    "a public key": lambda: host(**{"s1/public": b"-----BEGIN PUBLIC KEY-----\n" + many("A", 500_000)}),
    "characters of four bytes": lambda: nginx("\U0001f600", 3 * 1024 * 1024),
    "nginx: too long": lambda: nginx("a;\n", 7 * 1024 * 1024),
    "nginx: different names": lambda: host(
        nginx_conf=b"# configuration file /a:\n" + b"".join(b"a.%x " % number for number in range(350_000))
    ),
    "nginx: paths": lambda: nginx("/a.pem "),
    "nginx: directives beside our names": lambda: nginx(NAMES + ";" + "a;" * 1000),
    "nginx: servers": lambda: nginx(server(""), 1024 * 1024 - 100),
    "nginx: deep blocks": lambda: nginx("a{" * 900 + "server{}" * 9000 + NAMES + "}" * 900, 400_000),
    "nginx: open blocks": lambda: nginx(NAMES + "{" * 1_000_000, 1024 * 1024 - 100),
    "nginx: listens": lambda: nginx("\nlisten a;"),
    "nginx: listens with blanks": lambda: nginx("\nlisten" + " " * 70),
    "nginx: includes": lambda: nginx("include a*;"),
    "nginx: different includes": lambda: host(
        nginx_conf=b"# configuration file /a:\n" + b"".join(b"include sites-enabled/%x*;" % n for n in range(90_000))
    ),
    "nginx: files": lambda: nginx("# configuration file /a:\n"),
    "nginx: files that include all files": lambda: nginx_files(1900, NAMES[:60] + ".internal server { include *; }"),
    "nginx: files that include each other": lambda: nginx_files(40, server("include *; include *;")),
    "nginx: a file that is included again and again": lambda: nginx_files(2, server("include 1;" * 20_000)),
    "nginx: no file": lambda: host(nginx_conf=many("a ", 1024 * 1024)),
    "certificates of many names": lambda: as_certificate([leaf(["a"] * 2000, serial=n + 1) for n in range(50)]),
    "certificates with a long subject": lambda: as_certificate(
        [leaf(["a"], names=400, serial=n + 1) for n in range(50)]
    ),
    "a certificate of 100,000 names": lambda: as_certificate([leaf(["a"] * 100_000)]),
    "chains that are slow to check": lambda: as_certificate(
        [leaf([service.fqdn], serial=n + 1) + chain() for n, service in enumerate(SERVICES)], chain() * 4
    ),
    "headers without an end": lambda: headers("# Written by meshfab; " + " {" * 4000),
    "headers of deep lists": lambda: headers(
        '# Written by meshfab; {"a":' + "[" * 7000 + f"}} wants={'0' * 16} text={'0' * 16}\n"
    ),
}
# tracemalloc makes everything several times slower, so these are a choice.
SPLIT = [
    "many small fields",
    "rows of texts",
    "units",
    "properties of a unit",
    "stats",
    "digests",
    "addresses of names",
]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_answer_is_judged_within_bounds_or_given_up_in_one_line(attack: Callable[[], bytes]) -> None:
    out = attack()
    with cheap():
        result = judge(out)
    if isinstance(result, str):
        assert "\n" not in result
        assert len(result) < 500
    else:
        assert len(result) <= len(SERVICES) + 1
        assert all(len(report.findings) < 200 for report in result)


@pytest.mark.parametrize("attack", [*SPLIT, "characters of four bytes"])
def test_a_hostile_answer_takes_memory_in_proportion(attack: str) -> None:
    out = ATTACKS[attack]()
    with small(out):
        judge(out)


def test_an_answer_of_kilobytes_does_not_become_megabytes() -> None:
    # One file under the keys of all files of 200 services, and directives as short as they can be.
    for out in (under_each_key("x\n" * 15_000), nginx(NAMES + ";" + "a;" * 10_000, 25_000)):
        tracemalloc.start()
        judge(out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * 1024 * 1024


def honest() -> tuple[bytes, list[Service]]:
    """A host with 1,000 vhosts, of which 100 serve pairs of the mesh: 2 MB of configuration."""
    services = [Service.of(f"service-{number}", SETTINGS) for number in range(100)]
    padding = "    # a comment of some length, as people write them above their directives\n" * 22
    vhosts = {}
    for number in range(1000):
        service = services[number] if number < 100 else Service.of(f"other-{number}", SETTINGS)
        vhosts[f"/etc/nginx/conf.d/{service.fqdn}.conf"] = (
            f"server {{\n    listen 443 ssl;\n    server_name {service.fqdn};\n    include snippets/tls.conf;\n"
            f"{padding}    ssl_certificate {service.cert};\n    ssl_certificate_key {service.key};\n"
            "    location / { proxy_pass http://127.0.0.1:8080; }\n}\n"
        )
    conf = "".join(
        f"# configuration file {path}:\n{text}\n"
        for path, text in {"/etc/nginx/nginx.conf": NGINX_CONF, "/etc/nginx/snippets/tls.conf": "\n", **vhosts}.items()
    )
    texts, keys, values, stats = {}, {}, {}, []
    for service in services:
        pair = authority().pair(service.fqdn)
        texts[service.cert] = pair.pem
        keys[f"{service.name}/cert"] = service.cert
        values[f"{service.name}/public"] = pair.public.rstrip().encode()
        values[f"{service.name}/acl"] = acl().encode()
        stats += [f"{service.cert}|regular file|root:root|644", f"{service.key}|regular file|root:root|640"]
    names = " ".join(service.name for service in services)
    digests = [f"{file.digest}  {file.path}" for one in services for file in renewal_units.wanted(one, SETTINGS)]
    units = [unit("nginx.service"), *(unit(service.timer) for service in services)]
    out = fields(
        {
            "now": b"%d" % NOW.timestamp(),
            "addresses": b"10.87.0.12 ",
            "root": authority().root_pem.encode(),
            "found": names.encode(),
            "vhosted": names.encode(),
            "resolved": "\n".join(f"{service.name} 10.87.0.12" for service in services).encode(),
            **files(texts, keys),
            **values,
            "digests": "\n".join(digests).encode(),
            "stats": "\n".join(stats).encode(),
            "nginx.conf": conf.encode(),
            "units": "\n".join(units).encode(),
        }
    )
    return out, services


def test_a_large_honest_host_is_judged_and_nothing_is_wrong_on_it() -> None:
    out, services = honest()
    assert len(out) > 2_000_000
    with cheap():
        reports = judge(out)
    assert not isinstance(reports, str)
    *of_services, _own = reports
    assert len(of_services) == len(services)
    # Nobody asked for the name here, so it leads nowhere from here.
    assert {finding.code for report in of_services for finding in report.findings} == {"dns-mismatch"}


@pytest.mark.parametrize("bits", [16_384, 100_000])
def test_a_giant_key_is_not_checked_with(bits: int) -> None:
    key = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    assert not certificate_chain.is_quick_to_check(key)


def test_keys_of_an_honest_authority_are_checked_with() -> None:
    keys: list[object] = [
        ec.generate_private_key(curve()).public_key() for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    ]
    keys += [ed25519.Ed25519PrivateKey.generate().public_key(), rsa.generate_private_key(65537, 2048).public_key()]
    assert all(map(certificate_chain.is_quick_to_check, keys))


def test_an_issuer_is_not_looked_for_without_end() -> None:
    text = leaf(["a.internal"]) + chain()
    fault = certificate_chain.chain_fault(certificate.read_leaf(text), chain() * 4, NOW)
    assert "signatures would have to be checked" in fault


@pytest.mark.parametrize(
    "text",
    [leaf(["a"] * 251), leaf(["a" * 254]), leaf(["a"], names=2000), leaf(["a"], serial=1 << 159 - 1) + "x" * 131_072],
    ids=["names", "a long name", "a large subject", "a large file"],
)
def test_a_certificate_beyond_its_bounds_is_unreadable(text: str) -> None:
    with pytest.raises(ValueError, match=r"more than 250 names|larger than any honest one|is longer than"):
        certificate.read_leaf(text)
