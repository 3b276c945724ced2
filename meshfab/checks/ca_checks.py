"""Check what the CA answers to a host against the settings. Pure: HTTP answers in, findings out."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshfab.ca import jwk_provisioner
from meshfab.checks.finding import Finding
from meshfab.errors import one_line
from meshfab.host import certificate, certificate_chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshfab.config.settings import Settings

_SKEW_SECONDS = 30
# The last third of the life must contain several ticks of 15 to 20 minutes, so that one may fail.
_SHORTEST_LIFE = 3 * 3600
# What step-ca grants where its configuration does not say (authority/config/config.go).
_DEFAULT_LIFE = "24h"
ROOT_REMEDY = (
    "compare with `step certificate fingerprint` at the CA, then put its root there, or correct the pin:"
    " meshfab.root_fingerprint, or if it is not set `fingerprint` in ~/.step/config/defaults.json here"
)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def check_ca(fields: Mapping[str, str], root: str | None, settings: Settings) -> Iterator[Finding]:
    """Check that the CA is reachable and trusted, and check its name, provisioner, lifetimes and clock."""
    status, _, message = fields.get("ca.health", "").partition(" ")
    head, _, roots = fields.get("ca.roots", "").replace("\r\n", "\n").partition("\n\n")
    if not head:
        why = one_line(message)[:200] or "no answer"
        what = f"the CA at {settings.ca_url} is not reached from the host ({why})"
        yield Finding("ca", "critical", what, "is it up, and can this host reach it? else set meshfab.ca_url")
        return
    if status == "0":
        yield Finding("ca", "ok", f"{settings.ca_url} answers")
    elif fields.get("ca.trusted"):
        # Without step its health was not asked for; the missing program has a line of its own.
        yield Finding("ca", "ok" if not message else "critical", f"{settings.ca_url} answers {one_line(message)[:200]}")
    yield _of_root(fields, roots, root, settings)
    if fields.get("ca.trusted"):
        yield _of_name(fields, settings)
    yield from _of_clock(fields, head)
    yield from _of_provisioner(fields, settings)


def listed_provisioners(fields: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """The CA's provisioners as it describes them, at most a hundred; None if it does not list them."""
    try:
        table = json.loads(fields.get("ca.provisioners", "").replace("\r\n", "\n").partition("\n\n")[2])
        return [provisioner for provisioner in table["provisioners"] or () if isinstance(provisioner, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def seconds(duration: str) -> float | None:
    """A duration as Go writes it.

    >>> seconds("24h0m0s")
    86400.0
    """
    parts = re.findall(r"([0-9.]{1,20})(h|ms|us|µs|ns|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        return None


def root_fault(root: str, settings: Settings) -> str:
    """What is wrong with a host's root file by the pinned fingerprint; empty if it holds that root and no other."""
    pin = settings.root_fingerprint
    fingerprints = certificate_chain.fingerprints(root)
    if pin is None or fingerprints == [pin]:
        return ""
    names = ", ".join(fingerprints[:3]) + ", …" * (len(fingerprints) > 3)
    return f"{settings.root} holds {names or 'no certificate'}, not the pinned root {pin}"


def _of_name(fields: Mapping[str, str], settings: Settings) -> Finding:
    """The name in the URL must be in the certificate: other servers of the mesh chain to the same root."""
    name = urlsplit(settings.ca_url).hostname
    if fields.get("ca.named"):
        return Finding("ca-name", "ok", f"the CA's certificate is for {name}")
    leaf = certificate.leaf_of(fields.get("ca.certificate"))
    sans = leaf.sans if leaf else ()
    listed = ", ".join(one_line(san)[:64] for san in sans[:8]) + ", …" * (len(sans) > 8)
    what = f"what answers at {settings.ca_url} has a certificate for {listed or 'no DNS name'}, not for {name}"
    return Finding("ca-name", "critical", what, "is it the CA? then add the name to dnsNames in its ca.json")


def _of_root(fields: Mapping[str, str], roots: str, root: str | None, settings: Settings) -> Finding:
    host_roots, ca_roots = certificate_chain.fingerprints(root or ""), certificate_chain.fingerprints(roots)
    if not host_roots:
        remedy = "copy the CA's root there, or set meshfab.root"
        return Finding("ca-root", "critical", f"{settings.root} holds no certificate", remedy)
    both = [provisioner for provisioner in host_roots if provisioner in ca_roots]
    if both and fields.get("ca.trusted"):
        how = "pinned" if settings.root_fingerprint else "meshfab.root_fingerprint would pin it"
        return Finding("ca-root", "ok", f"{settings.root} is the CA's root, SHA-256 {both[0]} ({how})")
    ca_fingerprint = ca_roots[0] if ca_roots else "unknown"
    what = f"{settings.root} ({host_roots[0]}) is not the root of what answers at {settings.ca_url} ({ca_fingerprint})"
    return Finding(
        "ca-root", "critical", what, "compare with `step certificate fingerprint` at the CA, then copy its root"
    )


def _of_clock(fields: Mapping[str, str], head: str) -> Iterator[Finding]:
    date = re.search(r"^date: *(.{1,60})$", head, re.IGNORECASE | re.MULTILINE)
    try:
        ca_time = parsedate_to_datetime(date[1] if date else "").astimezone(timezone.utc)
        before, after = (datetime.fromtimestamp(int(word), timezone.utc) for word in fields.get("ca.asked", "").split())
    except (ValueError, TypeError, OverflowError, OSError):
        yield Finding("clock", "unknown", "the CA does not report its time", "compare the clocks by hand")
        return
    ahead, behind = (before - ca_time).total_seconds() - 1, (ca_time - after).total_seconds() - 1
    off = max(ahead, behind)
    if off > _SKEW_SECONDS:
        what = f"the host's clock is {off:.0f} s {'ahead of' if ahead > behind else 'behind'} the CA's"
        yield Finding("clock", "warning", what, "timedatectl set-ntp true, on the one that is wrong")
    else:
        yield Finding("clock", "ok", "the host's clock is the CA's")


def _of_provisioner(fields: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    listed = listed_provisioners(fields)
    if listed is None:
        yield Finding("provisioner", "unknown", "the CA does not list its provisioners", "see the CA's log")
        return
    name = settings.provisioner
    ours = jwk_provisioner.pick(listed, name)
    if ours is None:
        names = ", ".join(one_line(str(provisioner.get("name")))[:40] for provisioner in listed[:10]) or "none"
        what = f"the CA has no JWK provisioner '{name}' (it has {names})"
        yield Finding("provisioner", "critical", what, "set meshfab.provisioner, or put it back at the CA")
        return
    yield Finding("provisioner", "ok", f"the CA has the JWK provisioner '{name}'")
    yield _of_life(ours)


def _of_life(provisioner: dict[str, Any]) -> Finding:
    claims = provisioner.get("claims")
    claims = claims if isinstance(claims, dict) else {}
    longest = str(claims.get("maxTLSCertDuration", _DEFAULT_LIFE))
    usual = str(claims.get("defaultTLSCertDuration", longest))
    span = seconds(usual)
    message = f"certificates live {one_line(usual)[:40]}, at most {one_line(longest)[:40]}"
    if span is None:
        return Finding("lifetime", "unknown", message, "see the CA's claims")
    if span < _SHORTEST_LIFE:
        remedy = "raise defaultTLSCertDuration at the CA, or run the timer more often"
        return Finding("lifetime", "warning", f"{message}: too short for a tick every 15 minutes", remedy)
    return Finding("lifetime", "ok", message)
