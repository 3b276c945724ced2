"""Programs of Debian 12 with their libraries, unpacked into the cache: nothing is installed, and no service starts.

With its own libraries a program runs on each release of the lab's hosts.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import run

# What a name server of the lab is started from.
NAME_SERVERS = ("bind9", "knot", "unbound", "dnsmasq-base", "pdns-server", "pdns-backend-sqlite3")
_PROGRAMS = ("named", "knotd", "unbound", "unbound-checkconf", "unbound-control", "dnsmasq", "pdns_server")
# The tables of PowerDNS's database.
POWERDNS_SCHEMA = "schema.sqlite3.sql"
# The C library is the host's own; elogind's library has the files of systemd's.
_LIBRARY = re.compile(r"lib(?!c6$|elogind|perl|.*-stdlib$|.*-minimal$|.*-perl$)[a-z0-9.+-]+|bind9-libs")


def ensure_name_servers() -> Path:
    """The folder with the programs in `sbin` and their libraries in `lib`."""
    return cache.ensure_folder(f"name-servers-{cache.key(*NAME_SERVERS, *_PROGRAMS)}", _build)[0]


def _build(folder: Path) -> None:
    if shutil.which("apt-get") is None:
        raise LabError("the name servers of the tests come from Debian's packages; this machine has no apt-get")
    run(["apt-get", "-qq", "update"])
    options = [f"--no-{each}" for each in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    listed = run(["apt-cache", "depends", "--recurse", *options, *NAME_SERVERS])
    names = {line.strip() for line in listed.splitlines() if line[:1].isalnum()}
    libraries = sorted(name for name in names if _LIBRARY.fullmatch(name))
    with tempfile.TemporaryDirectory() as text:
        packages, root = Path(text) / "packages", Path(text) / "root"
        packages.mkdir()
        # apt-get downloads into the working directory.
        run(["env", "-C", str(packages), "apt-get", "-qq", "download", *NAME_SERVERS, *libraries])
        for package in sorted(packages.iterdir()):
            run(["dpkg-deb", "--extract", str(package), str(root)])
        (folder / "sbin").mkdir()
        for name in _PROGRAMS:
            shutil.copy2(root / "usr" / "sbin" / name, folder / "sbin" / name)
        shutil.copy2(root / "usr/share/pdns-backend-sqlite3/schema" / POWERDNS_SCHEMA, folder)
        for libraries_of in (*root.glob("lib/*-linux-gnu"), *root.glob("usr/lib/*-linux-gnu")):
            run(["cp", "-a", "-T", str(libraries_of), str(folder / "lib")])
