"""Every public name in use, as in a stranger's typed code; `mypy --strict` holds it against the installed wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab import (
    HostOutcome,
    MeshfabError,
    Move,
    Outcome,
    Publication,
    Readiness,
    Report,
    Retirement,
    Revocation,
    Service,
    Settings,
    apply,
    check_certs,
    connect,
    doctor,
    mint,
    move,
    ns,
    provision,
    provisioner_password,
    publish_dns,
    reissue,
    rekey,
    renew,
    renew_enable,
    retire,
    revoke,
    wire_nginx,
)
from meshfab.errors import (
    ConnectError,
    DnsError,
    EditedError,
    HostKeyError,
    InputError,
    LockedError,
    LostError,
    MintError,
    NginxError,
    NotReadyError,
    RenewError,
    RevokeError,
    SecretLeftError,
    ServedError,
    StoppedError,
    SudoAsksError,
)

if TYPE_CHECKING:
    from datetime import datetime

NOT_SENT: tuple[type[MeshfabError], ...] = (InputError, HostKeyError)
AGAIN: tuple[type[MeshfabError], ...] = (LostError, ConnectError, StoppedError)
HOST: tuple[type[MeshfabError], ...] = (NotReadyError, SudoAsksError, LockedError, NginxError, EditedError)
PAIR: tuple[type[MeshfabError], ...] = (MintError, RenewError, RevokeError, ServedError, SecretLeftError)
NAME: type[MeshfabError] = DnsError


def steps(host: str) -> datetime | None:
    settings = Settings.load({"meshfab": {"domain": "internal"}})
    service: Service = Service.of("wiki", settings, sans=("docs.internal",))
    with connect(host, ssh_config=settings.ssh_config) as c:
        mint(c, service.name, settings=settings, sans=service.sans)
        renew_enable(c, service.name, settings=settings)
        wire_nginx(c, service.name, settings=settings, upstream="http://127.0.0.1:8080", listen=["all"])
        outcome: Outcome = provision(c, service.name, settings=settings, dry_run=True, on_step=said)
        provision(c, service.name, upstream="https://app.internal:8443", verify_upstream=False, keep_host=True)
        renewed: Outcome = renew(c, service.name, settings=settings)
        rekey(c, service.name, settings=settings, dry_run=True, on_step=said)
        with provisioner_password(c, service.name) as path:
            print(path.upper())
    done: list[str] = [f"{step.verb}: {step.reason}" for step in outcome.changed]
    print(outcome.host, done, outcome.notes, outcome.diffs, renewed.served and renewed.served.address)
    return outcome.leaf.not_after if outcome.leaf else None


def said(verb: str, text: str) -> None:
    print(verb, text)


def fleet() -> int:
    report: Report = check_certs(["h1"], settings=Settings(parallel=2))
    for host in report.hosts:
        for one in host.certificates:
            print(host.host, host.error, one.fqdn, one.status, [finding.remedy for finding in one.findings])
    outcomes: tuple[HostOutcome, ...] = apply(["h1"], settings=Settings(), dry_run=True)
    outcomes += reissue(["h1"], names=["wiki"], provisioner="lair-2", settings=Settings(), dry_run=True)
    print([(outcome.host, outcome.is_well, outcome.undeclared) for outcome in outcomes])
    machines: tuple[Readiness, ...] = doctor(["h1"], settings=Settings())
    print([(machine.host, machine.status, [check.code for check in machine.checks]) for machine in machines])
    return report.exit_status


def away(old: str, new: str) -> list[str]:
    moved: Move = move("wiki", old, new, settings=Settings(), sans=["docs.internal"], wait=False)
    print(moved.provisioned.served, moved.retired and moved.retired.files, moved.addresses)
    return [*moved.remaining]


def named(host: str) -> list[str]:
    published: tuple[Publication, ...] = publish_dns([host], names=["wiki"], settings=Settings(), dry_run=True)
    return [f"{one.fqdn} {one.addresses} {one.before} {one.reason} {one.error}" for one in published]


def end(host: str) -> tuple[int, bool, str]:
    by_token: Revocation = revoke(None, "0xab12", settings=Settings(signing="operator"))
    with connect(host) as c:
        retired: Retirement = retire(c, "wiki", revoke=True, force=False, last=False, dry_run=True, on_step=said)
        print(retired.files, [each.not_after for each in retired.unrevoked], [step.verb for step in retired.changed])
        return by_token.serial, revoke(c, by_token.serial).was_revoked, by_token.way


def caught() -> str:
    try:
        steps("h1")
    except EditedError as error:
        return error.diff
    except MeshfabError as error:
        return f"{error.what} {error.host} {error.remedy}"
    return str(ns.name)
