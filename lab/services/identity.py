"""What every mesh host has before any service: the root, trusted, and a pair of its own."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.machine import machine, namespace_holder
from lab.machine.process import PLAIN, run

if TYPE_CHECKING:
    from lab.layout import Lab


def give(lab: Lab, host: str, step: Path) -> None:
    """Put the mesh's root and the host's identity pair, fresh from the CA, on the host's disk."""
    root = namespace_holder.seen(lab, machine.tree(lab, host))
    _trust(lab, root)
    full = layout.fqdn(host)
    with tempfile.TemporaryDirectory(dir=lab.state) as folder:
        pair = [f"{folder}/certificate", f"{folder}/key"]
        argv = [str(step), "ca", "certificate", "--force", "--ca-url", layout.CA_URL]
        argv += ["--root", str(lab.root), "--provisioner", layout.PROVISIONER]
        argv += ["--provisioner-password-file", str(lab.password), "--san", full, full, *pair]
        run(namespace_holder.inside(lab, *argv), env={**PLAIN, "STEPPATH": folder})
        tls = root / "etc" / "pki" / "tls"
        _install(Path(pair[0]), tls / "misc" / f"{full}.pem", 0o644)
        _install(Path(pair[1]), tls / "private" / f"{full}.pem", 0o600)


def _trust(lab: Lab, root: Path) -> None:
    """What update-ca-certificates would do, without the half second that it takes per host."""
    text = lab.root.read_text()
    anchors = [
        layout.ROOT_ON_HOST.relative_to("/"),
        Path("usr/local/share/ca-certificates/root-internal.crt"),
    ]
    for anchor in anchors:
        _install(lab.root, root / anchor, 0o644)
    certs = root / "etc" / "ssl" / "certs"
    for name in ("root-internal.pem", f"{_hash(lab.root)}.0"):
        (certs / name).unlink(missing_ok=True)
        (certs / name).symlink_to("/usr/local/share/ca-certificates/root-internal.crt")
    with (certs / "ca-certificates.crt").open("a") as bundle:
        bundle.write(text)


@functools.cache
def _hash(certificate: Path) -> str:
    """The name by which OpenSSL finds a certificate in a folder of them."""
    return run(["openssl", "x509", "-in", str(certificate), "-noout", "-hash"]).strip()


def _install(source: Path, place: Path, mode: int) -> None:
    place.touch(mode=mode)
    place.chmod(mode)
    place.write_text(source.read_text())
