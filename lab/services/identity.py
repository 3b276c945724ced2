"""What every mesh host has before any service: the CA's root as a trust anchor, and the host's own pair."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import machine, namespace_holder
from lab.machine.process import CLEAN_ENVIRONMENT, run

if TYPE_CHECKING:
    from lab.layout import Lab


def install(lab: Lab, host: str, step: Path) -> None:
    """Write the CA's root and a new pair for the host's own name to the host's disk."""
    root = namespace_holder.path_from_outside(lab, machine.root_path(lab, host))
    _install_trust_anchor(lab, root)
    fqdn = layout.fqdn(host)
    with tempfile.TemporaryDirectory(dir=lab.state) as folder:
        certificate, key = f"{folder}/certificate", f"{folder}/key"
        argv = [str(step), "ca", "certificate", "--force", "--ca-url", layout.CA_URL]
        argv += ["--root", str(lab.root), "--provisioner", layout.PROVISIONER]
        argv += ["--provisioner-password-file", str(lab.password), "--san", fqdn, fqdn, certificate, key]
        run(namespace_holder.nsenter(lab, *argv), env={**CLEAN_ENVIRONMENT, "STEPPATH": folder})
        tls = root / "etc" / "pki" / "tls"
        _copy(Path(certificate), tls / "misc" / f"{fqdn}.pem", 0o644)
        _copy(Path(key), tls / "private" / f"{fqdn}.pem", 0o600)


def _install_trust_anchor(lab: Lab, root: Path) -> None:
    """Do what update-ca-certificates does; that program takes half a second on each host."""
    anchors = [
        layout.ROOT_ON_HOST.relative_to("/"),
        Path("usr/local/share/ca-certificates/root-internal.crt"),
    ]
    for anchor in anchors:
        _copy(lab.root, root / anchor, 0o644)
    certs = root / "etc" / "ssl" / "certs"
    for name in ("root-internal.pem", f"{_subject_hash(lab.root)}.0"):
        (certs / name).unlink(missing_ok=True)
        (certs / name).symlink_to("/usr/local/share/ca-certificates/root-internal.crt")
    with (certs / "ca-certificates.crt").open("a") as bundle:
        bundle.write(lab.root.read_text())


@functools.cache
def _subject_hash(certificate: Path) -> str:
    """The hash of the subject, by which OpenSSL finds a certificate in a folder."""
    return run(["openssl", "x509", "-in", str(certificate), "-noout", "-hash"]).strip()


def _copy(source: Path, target: Path, mode: int) -> None:
    target.touch(mode=mode)
    target.chmod(mode)
    target.write_text(source.read_text())
