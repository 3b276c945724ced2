"""Certificates, hosts and shells for the unit tests: everything is made when it is asked for, and nothing is kept."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.host import facts, renewal_units
from meshfab.nginx import change, previous_options, vhost
from meshfab.provisioning.observe import ServiceObservation
from meshfab.provisioning.plan import Plan, make_plan
from meshfab.provisioning.request import EVERYTHING, Consent, Part, ProvisionRequest
from meshfab.ssh.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfab.host.facts import HostState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
SETTINGS = Settings()
SERVICE = Service.of("gongfoo", SETTINGS)
PASSWORD = "correct horse 'battery' $staple"
BACKDATE = timedelta(minutes=1)


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain and its key."""

    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return "".join(pem_of(one) for one in (self.certificate, *self.issuers))

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def public(self) -> str:
        """What `openssl pkey -pubout` prints of its key."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@dataclass(frozen=True)
class Authority:
    """A root, and the intermediate under it that issues."""

    root: Pair
    intermediate: Pair

    @property
    def root_pem(self) -> str:
        return pem_of(self.root.certificate)

    def pair(
        self,
        *names: str,
        start: datetime = NOW - BACKDATE,
        life: timedelta = 24 * HOUR,
        subject: str = "",
        is_bare: bool = False,
    ) -> Pair:
        """A leaf with these DNS names; `is_bare` leaves the intermediate out of the file."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _builder(
            subject or (names[0] if names else ""), self.intermediate.certificate.subject, key, start, life
        )
        if names:
            built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        signed = built.sign(self.intermediate.key, hashes.SHA256())
        return Pair(signed, () if is_bare else (self.intermediate.certificate,), key)


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@functools.cache
def authority(name: str = "Mesh") -> Authority:
    """The authority of that name, the same one all through a test run."""
    root = _issuer(f"{name} root", None, 1)
    return Authority(root, _issuer(f"{name} intermediate", root, 0))


def _issuer(name: str, parent: Pair | None, depth: int) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = parent.certificate.subject if parent else _name(name)
    built = _builder(name, subject, key, NOW - 24 * HOUR, 24 * 365 * HOUR)
    built = built.add_extension(x509.BasicConstraints(True, depth), True)
    signed = built.sign(parent.key if parent else key, hashes.SHA256())
    return Pair(signed, (), key)


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "nameless")])


def good_pair(*names: str) -> Pair:
    """The pair for these names, the same one all through a test run, with nearly all of a day to live."""
    return _good_pair(names or (SERVICE.fqdn,))


@functools.cache
def _good_pair(names: tuple[str, ...]) -> Pair:
    return authority().pair(*names)


NGINX_CONF = """\
user nginx;
events { worker_connections 1024; }
http {
    include /etc/nginx/conf.d/*.conf;
}
"""
DEBIAN_CONF = NGINX_CONF.replace("user nginx;", "user www-data;").replace(
    "include /etc/nginx/conf.d/*.conf;",
    "include /etc/nginx/conf.d/*.conf;\n    include /etc/nginx/sites-enabled/*;",
)


def acl(user: str = "nginx", right: str = "r--", mask: str = "r--") -> str:
    """What `getfacl -cpE` prints of a key."""
    return f"user::rw-\nuser:{user}:{right}\ngroup::---\nmask::{mask}\nother::---"


@dataclass
class Host:
    """A host as a probe would find it: with everything done for a service, until a test takes something away."""

    service: Service = SERVICE
    settings: Settings = SETTINGS
    pair: Pair | None = None
    cert: str | None = ""
    public: str | None = ""
    acl: str = field(default_factory=acl)
    cert_rights: str = "root:root|644"
    key_rights: str = "root:root|640"
    staged: str | None = None
    leftovers: bool = False
    secret: bool = False
    vhosts: dict[str, str] = field(default_factory=dict)
    conf: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    version: str = "1.22.1"
    has_sites: bool = False
    root: str | None = ""
    units: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    now: datetime = NOW
    addresses: str = "10.87.0.12 "

    def __post_init__(self) -> None:
        self.pair = self.pair or good_pair(*self.service.names)
        self.cert = self.pair.pem if self.cert == "" else self.cert
        self.public = self.pair.public if self.public == "" else self.public
        self.root = authority().root_pem if self.root == "" else self.root
        names = ("step", "nginx", "openssl", "setfacl", "getfacl", "flock", "systemd-run")
        self.tools = self.tools or {name: f"/usr/bin/{name}" for name in names}
        self.digests = self.digests or {
            file.path: file.digest for file in renewal_units.wanted(self.service, self.settings)
        }
        self.units = self.units or {
            "nginx.service": unit("nginx.service"),
            self.service.timer: unit(self.service.timer),
        }
        self.conf = self.conf or {"/etc/nginx/nginx.conf": NGINX_CONF}

    @property
    def vhost_path(self) -> str:
        return f"/etc/nginx/conf.d/{self.service.fqdn}.conf"

    def wired(self, text: str | None = None, path: str = "") -> Host:
        """With a vhost that nginx has loaded; our own when no text is given."""
        version = tuple(int(part) for part in self.version.split("."))
        text = vhost.render(self.service, self.settings, version) if text is None else text
        path = path or self.vhost_path
        return replace(self, conf={**self.conf, path: text}, vhosts={**self.vhosts, path: text})

    def fields(self) -> dict[str, str]:
        name = self.service.name
        said = {
            "now": str(int(self.now.timestamp())),
            "addresses": self.addresses,
            "tools": "\n".join(self.tools.values()),
            "root": self.root,
            "nginx.conf": self._dump(),
            "nginx.sites": "yes" if self.has_sites else None,
            "digests": "\n".join(f"{digest}  {path}" for path, digest in self.digests.items()),
            f"{name}/cert": self.cert,
            f"{name}/public": self.public,
            f"{name}/acl": self.acl if self.public is not None else None,
            f"{name}/staged": self.staged,
            f"{name}/leftovers": "yes" if self.leftovers or self.staged is not None else None,
            f"{name}/secret": self.service.secret if self.secret else None,
            **{f"{name}/vhost:{path}": text for path, text in self.vhosts.items()},
            "stats": "\n".join(self._stats()),
            "units": "\n".join(self.units.values()),
        }
        return {key: value for key, value in said.items() if value is not None}

    def answer(self) -> Answer:
        return Answer("probe", 0, encoded(self.fields()), "")

    def state(self) -> HostState:
        return facts.parse(self.answer(), "h2", self.settings, [self.service])

    def _dump(self) -> str:
        if self.refusal:
            return f"nginx version: nginx/{self.version}\n{self.refusal}\n"
        head = f"nginx version: nginx/{self.version}\nnginx: configuration file test is successful\n"
        return head + "".join(f"# configuration file {path}:\n{text}\n" for path, text in self.conf.items())

    def _stats(self) -> list[str]:
        rows = [(self.service.cert, self.cert, self.cert_rights), (self.service.key, self.public, self.key_rights)]
        return [f"{path}|regular file|{rights}" for path, there, rights in rows if there is not None]


def encoded(fields: dict[str, str]) -> bytes:
    """Fields as `put` of the prelude prints them: `$(…)` had dropped the newlines at their ends."""
    rows = [(key, value.rstrip("\n").encode()) for key, value in fields.items()]
    return b"".join(b"%b %d\n%b\n" % (key.encode(), len(value), value) for key, value in rows)


def unit(
    name: str, *, load: str = "loaded", enabled: str = "enabled", active: str = "active", stale: str = "no"
) -> str:
    """A unit as `systemctl show` prints it."""
    rows = {"Id": name, "LoadState": load, "UnitFileState": enabled, "ActiveState": active, "Result": "success"}
    return "".join(f"{key}={value}\n" for key, value in {**rows, "NeedDaemonReload": stale}.items())


class RecordingShell:
    """Stands for a RootShell: keeps what it is sent, and answers from a table of functions by script name."""

    def __init__(self, answers: dict[str, Callable[[Request], Answer]] | None = None) -> None:
        self.answers = answers or {}
        self.sent: list[Request] = []
        self.host = "h2"
        self.pid = "4711"
        self.is_idle = True
        self.timeout = 90.0
        self.c: Any = SimpleNamespace(
            close=lambda: None, gateway=None, transport=SimpleNamespace(getpeername=lambda: ("10.87.0.12", 22))
        )

    def __enter__(self) -> RecordingShell:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, name: str, *args: str, data: str | None = None, timeout: float | None = None) -> Answer:
        return self.batch([Request(name, args, data)], timeout=timeout)[0]

    def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Answer]:  # noqa: ARG002
        given: list[Answer] = []
        for request in requests:
            self.sent.append(request)
            make = self.answers.get(request.script)
            given.append(make(request) if make else Answer(request.script, 0, b"", ""))
            if not given[-1].ok:
                break
        return given

    @property
    def scripts(self) -> list[str]:
        return [request.script for request in self.sent]


class LocalChannel:
    """Paramiko's channel as RootShell uses it, over a shell of this machine."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.timeout: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.commands: list[str] = []
        self.sent = bytearray()
        self.is_combined = False
        self.is_stuck = False

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def exec_command(self, command: str) -> None:
        self.commands.append(command)
        pipe = subprocess.PIPE
        env = {"PATH": self.path, "LANG": "C.UTF-8", "HOME": "/nonexistent"}
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=env,
            start_new_session=True,
        )

    def sendall(self, data: bytes) -> None:
        self.sent += data
        assert self.running.stdin is not None
        self.running.stdin.write(data)
        self.running.stdin.flush()

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def set_combine_stderr(self, combine: bool) -> None:
        self.is_combined = combine

    def recv(self, size: int) -> bytes:
        if self.is_combined:
            return self._read(size, self.running.stdout, self.running.stderr)
        return self._read(size, self.running.stdout)

    def recv_stderr(self, size: int) -> bytes:
        return self._read(size, self.running.stderr)

    @property
    def status_event(self) -> SimpleNamespace:
        return SimpleNamespace(wait=self._wait)

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.running.wait(seconds)

    def exit_status_ready(self) -> bool:
        return self.running.poll() is not None

    def recv_exit_status(self) -> int:
        return self.running.wait(5)

    def close(self) -> None:
        """Hang up: the shell ends by itself when its input does."""
        for stream in (self.running.stdin, self.running.stdout, self.running.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        try:
            self.running.wait(0 if self.is_stuck else 5)
        except subprocess.TimeoutExpired:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait(5)

    def kill(self) -> None:
        """As a line that drops: the other end is gone."""
        os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait(5)

    def _read(self, size: int, *streams: Any) -> bytes:
        ready = select.select(streams, [], [], self.timeout)[0]
        if not ready:
            self.is_stuck = True
            raise TimeoutError
        chunks = [os.read(stream.fileno(), size) for stream in ready]
        if not any(chunks):
            # The status of a real channel comes with its end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.running.wait(2)
        return b"".join(chunks)


class LocalConnection:
    """As much of a Fabric connection as RootShell needs, to this machine."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.host = self.original_host = "h2"
        self.config = SimpleNamespace(sudo=SimpleNamespace(password=None))
        self.channels: list[LocalChannel] = []

    def create_session(self) -> LocalChannel:
        self.channels.append(LocalChannel(self.path))
        return self.channels[-1]

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


def planned(
    state: facts.HostState,
    service: Service = SERVICE,
    served: bytes | None = None,
    parts: frozenset[Part] = EVERYTHING,
    *,
    settings: Settings = SETTINGS,
    force: bool = False,
    start: bool = False,
) -> Plan:
    """The plan for a service on a host whose clients get that leaf."""
    now = previous_options.merge_previous_options(state, service)
    observed = ServiceObservation(now, change.serving_endpoint(state, now, settings), None, served)
    request = ProvisionRequest(services=(service,), settings=settings, parts=parts, consent=Consent(force, start))
    return make_plan(state, observed, request)
