"""A fake host with one service, the answer of its probe, and a shell that records requests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from meshfab.checks import preconditions
from meshfab.host import certificate, facts, history, renewal_units
from meshfab.nginx import change, previous_options, vhost
from meshfab.provisioning.observe import ServiceObservation
from meshfab.provisioning.plan import Plan, make_plan
from meshfab.provisioning.request import EVERYTHING, Consent, Part, ProvisionRequest
from meshfab.ssh.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState

from tests.support.certificates import NOW, SERVICE, SETTINGS, Pair, authority, good_pair

PASSWORD = "correct horse 'battery' $staple"
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
    """A host as a probe finds it. Everything that the service needs is there, unless a test removes something."""

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
    unwritable: str = ""
    history: str | None = ""

    def __post_init__(self) -> None:
        self.pair = self.pair or good_pair(*self.service.names)
        self.cert = self.pair.pem if self.cert == "" else self.cert
        self.public = self.pair.public if self.public == "" else self.public
        self.root = authority().root_pem if self.root == "" else self.root
        names = ("step", "nginx", *preconditions._PACKAGES, *preconditions._OTHER_PACKAGES)
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

    def with_vhost(self, text: str | None = None, path: str = "") -> Host:
        """The same host with a vhost that nginx has loaded; the managed one if no text is given."""
        version = tuple(int(part) for part in self.version.split("."))
        text = vhost.render(self.service, self.settings, version) if text is None else text
        path = path or self.vhost_path
        return replace(self, conf={**self.conf, path: text}, vhosts={**self.vhosts, path: text})

    def fields(self) -> dict[str, str]:
        name = self.service.name
        fields_or_none = {
            "now": str(int(self.now.timestamp())),
            "addresses": self.addresses,
            "tools": "\n".join(self.tools.values()),
            "unwritable": self.unwritable,
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
            "histories": self._history(),
            "stats": "\n".join(self._stats()),
            "units": "\n".join(self.units.values()),
        }
        return {key: value for key, value in fields_or_none.items() if value is not None}

    def answer(self) -> Answer:
        return Answer("facts+probe", 0, encoded(self.fields()), "")

    def state(self) -> HostState:
        return facts.parse(self.answer(), "h2", self.settings, [self.service])

    def _dump(self) -> str:
        if self.refusal:
            return f"nginx version: nginx/{self.version}\n{self.refusal}\n"
        head = f"nginx version: nginx/{self.version}\nnginx: configuration file test is successful\n"
        return head + "".join(f"# configuration file {path}:\n{text}\n" for path, text in self.conf.items())

    def _history(self) -> str | None:
        """The history has the certificate on disk, unless a test says otherwise."""
        leaf = certificate.leaf_of(self.cert)
        return f"{self.service.name} {history.line(leaf)}" if self.history == "" and leaf else self.history

    def _stats(self) -> list[str]:
        rows = [(self.service.cert, self.cert, self.cert_rights), (self.service.key, self.public, self.key_rights)]
        return [f"{path}|regular file|{rights}" for path, content, rights in rows if content is not None]


def encoded(fields: dict[str, str]) -> bytes:
    """Fields as `put` of library.sh prints them: `$(…)` has dropped the newlines at their ends."""
    rows = [(key, value.rstrip("\n").encode()) for key, value in fields.items()]
    return b"".join(b"%b %d\n%b\n" % (key.encode(), len(value), value) for key, value in rows)


def unit(
    name: str, *, load: str = "loaded", enabled: str = "enabled", active: str = "active", stale: str = "no"
) -> str:
    """A unit as `systemctl show` prints it."""
    rows = {"Id": name, "LoadState": load, "UnitFileState": enabled, "ActiveState": active, "Result": "success"}
    return "".join(f"{key}={value}\n" for key, value in {**rows, "NeedDaemonReload": stale}.items())


class RecordingShell:
    """A fake RootShell: records the requests, and answers with functions from a table by script name."""

    def __init__(self, answers: dict[str, Callable[[Request], Answer]] | None = None) -> None:
        self.answers = answers or {}
        self.sent: list[Request] = []
        self.host = "h2"
        self.pid = "4711"
        self.is_idle = True
        self.timeout = 90.0
        self.c: Any = SimpleNamespace(
            user="ops",
            close=lambda: None,
            gateway=None,
            transport=SimpleNamespace(getpeername=lambda: ("10.87.0.12", 22)),
        )

    def __enter__(self) -> RecordingShell:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, name: str, *args: str, data: str | None = None, timeout: float | None = None) -> Answer:
        return self.batch([Request(name, args, data)], timeout=timeout)[0]

    def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Answer]:  # noqa: ARG002
        answers: list[Answer] = []
        for request in requests:
            self.sent.append(request)
            make = self.answers.get(request.script)
            answers.append(make(request) if make else Answer(request.script, 0, b"", ""))
            if not answers[-1].ok:
                break
        return answers

    @property
    def scripts(self) -> list[str]:
        return [request.script for request in self.sent]


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
    """The plan for a service on a host; `served` is the leaf that clients get."""
    now = previous_options.merge_previous_options(state, service)
    observed = ServiceObservation(now, change.serving_endpoint(state, now, settings), None, served)
    request = ProvisionRequest(services=(service,), settings=settings, parts=parts, consent=Consent(force, start))
    return make_plan(state, observed, request)
