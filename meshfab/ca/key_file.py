"""A provisioner's key in a file of the operator, as ssh-add takes it.

`ssh-keygen` makes it: it asks for the passphrase on the terminal, and encrypts the file as OpenSSH does (bcrypt), so
that no passphrase is in this process. `cryptography` could write the same file, with a prompt of our own.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from meshfab.errors import InputError

KINDS = {"ecdsa": ("-t", "ecdsa", "-b", "256"), "ed25519": ("-t", "ed25519")}


def make(file: Path, kind: str, comment: str) -> None:
    """Make a key, mode 0600, and its public half in `FILE.pub`. A file that exists is not touched.

    Raises:
        InputError: there is such a file, no terminal for the passphrase, or no ssh-keygen.
    """
    if kind not in KINDS:
        raise InputError(f"--key-type {kind!r} is unknown", remedy=f"use {' or '.join(KINDS)}")
    if not sys.stdin.isatty():
        # ssh-keygen would read the passphrase from there, and take the end of the input for an empty one.
        remedy = f"make it yourself: ssh-keygen {' '.join(KINDS[kind])} -f {file}"
        raise InputError("there is no terminal on which ssh-keygen could ask for a passphrase", remedy=remedy)
    if not shutil.which("ssh-keygen"):
        raise InputError("ssh-keygen is not installed", remedy="install the client programs of OpenSSH")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # ssh-keygen follows links, and writes over what is there: so it writes into a folder of its own.
        with tempfile.TemporaryDirectory(prefix=".meshfab-", dir=file.parent) as folder:
            staged = Path(folder, "key")
            argv = ["ssh-keygen", "-q", *KINDS[kind], "-C", comment, "-f", str(staged)]
            if subprocess.run(argv, check=False).returncode:
                raise InputError("ssh-keygen made no key", remedy="run this again")
            for source, target in ((staged, file), (_public(staged), _public(file))):
                os.link(source, target)
    except OSError as error:
        what = f"{error.filename2 or error.filename or file} cannot be made ({error.strerror})"
        raise InputError(what, remedy="give another --file") from None


def read_public(file: Path) -> bytes | None:
    """The public half of a key, from `FILE.pub`; None if neither file exists.

    Raises:
        InputError: there is no public half beside the key, or it is not one.
    """
    if not os.path.lexists(file) and not os.path.lexists(_public(file)):
        return None
    try:
        return base64.b64decode(_public(file).read_text("ascii").split()[1], validate=True)
    except (OSError, ValueError, IndexError):
        remedy = f"restore it: ssh-keygen -y -f {file} > {_public(file)}; or give another --file"
        raise InputError(f"{_public(file)} is not the public half of a key", remedy=remedy) from None


def is_unprotected(file: Path) -> bool:
    """Whether the private key can be read without a passphrase."""
    argv = ["ssh-keygen", "-y", "-P", "", "-f", str(file)]
    return file.is_file() and subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _public(file: Path) -> Path:
    return file.with_name(f"{file.name}.pub")
