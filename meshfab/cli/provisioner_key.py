"""`inv provisioner-key`: make a key for ssh-agent, say how it becomes a provisioner, and check that it is one."""

from __future__ import annotations

import json
import shlex
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshfab.ca import jwk_provisioner, key_file, public_jwk, ssh_agent
from meshfab.ca.client import CaClient, read_root
from meshfab.checks import provisioner_checks
from meshfab.cli.step_lines import StepPrinter
from meshfab.config import validation
from meshfab.errors import InputError, MeshfabError

if TYPE_CHECKING:
    from pathlib import Path

    from meshfab.config.settings import Settings


@dataclass(frozen=True)
class KeyOptions:
    """What was asked for.

    Attributes:
        provisioner: the name of the provisioner.
        file: the key's file; its JWK is `FILE.json`.
        kind: ecdsa or ed25519.
        label: fingerprint or comment of a key in ssh-agent, instead of a file; empty for a file.
        check: make nothing.
    """

    provisioner: str
    file: Path
    kind: str
    label: str
    check: bool


def run(settings: Settings, options: KeyOptions) -> None:
    """Make the key unless it is there, write its JWK, and say what is to do at the CA, or that all is done.

    Raises:
        InputError: an option cannot be used, a file is in the way, or the name belongs to another key.
        MeshfabError: with `check`, the CA does not have the provisioner as it should be.
    """
    validation.provisioner(options.provisioner, "--provisioner")
    listed = _listed(settings)
    lines = StepPrinter()
    public = _public_key(options, listed, lines)
    jwk = _jwk(public)
    file = options.file.with_name(f"{options.file.name}.json")
    _write(file, json.dumps(jwk, indent=2) + "\n")
    lines.step("jwk", f"{file} has the public key: {json.dumps(jwk)}")
    if isinstance(listed, MeshfabError):
        if options.check:
            raise listed
        lines.note("ca", f"it was not asked: {listed}")
    else:
        finding = provisioner_checks.check_key(listed, options.provisioner, public)
        if finding.status == "ok":
            lines.step("ca", finding.message)
            _print_use(options, lines)
            return
        is_new = provisioner_checks.ours(listed, options.provisioner) is None
        if options.check or not is_new:
            raise MeshfabError(finding.message, remedy=finding.remedy)
    argv = ["step", "ca", "provisioner", "add", options.provisioner, "--type", "JWK", "--public-key", file.name]
    lines.note("next", f"with that file at the CA: {shlex.join(argv)}")
    lines.note("then", "let step-ca read its configuration (SIGHUP), and run this again: it checks the result")


def _listed(settings: Settings) -> list[dict[str, Any]] | MeshfabError:
    """The CA's provisioners, or why they are not known."""
    try:
        with closing(CaClient(settings.ca_url, read_root(settings.operator_root_file))) as client:
            return jwk_provisioner.list_provisioners(client)
    except MeshfabError as error:
        return error


def _public_key(options: KeyOptions, listed: list[dict[str, Any]] | MeshfabError, lines: StepPrinter) -> bytes:
    """The public key, as SSH has it: that of the agent, of the file, or of a new one."""
    if options.label:
        with closing(ssh_agent.open_agent()) as agent:
            key = ssh_agent.labelled(agent.get_keys(), options.label)
            ssh_agent.jwk_of(key)
            lines.step("key", f"{public_jwk.ssh_fingerprint(key.blob)} is in ssh-agent")
            return bytes(key.blob)
    public = key_file.read_public(options.file)
    if public is None:
        if options.check:
            raise InputError(f"there is no key {options.file}", remedy="make it: run this without --check")
        if isinstance(listed, list) and provisioner_checks.ours(listed, options.provisioner):
            what = f"the CA has a provisioner '{options.provisioner}' already, with another key"
            raise InputError(what, remedy=f"name the new one: --provisioner {options.provisioner}-agent")
        key_file.make(options.file, options.kind, f"provisioner {options.provisioner}")
        public = key_file.read_public(options.file) or b""
        lines.step("key", f"{options.file} made, {public_jwk.ssh_fingerprint(public)}")
    else:
        lines.step("key", f"{options.file} is there, {public_jwk.ssh_fingerprint(public)}")
    if key_file.is_unprotected(options.file):
        lines.note("key", "it has no passphrase: whoever reads the file can mint; ssh-keygen -p sets one")
    return public


def _jwk(public: bytes) -> dict[str, str]:
    try:
        return public_jwk.of_ssh_key(public)
    except ValueError as error:
        what = f"the key is {error}, which cannot sign a token"
        raise InputError(what, remedy="take an ECDSA key on P-256 or an Ed25519 key") from None


def _write(file: Path, text: str) -> None:
    """Write a file that does not exist, or that has this text already."""
    try:
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file.open("x") as handle:
                handle.write(text)
        elif file.read_text() != text:
            raise InputError(f"{file} has another key", remedy="remove it, or give another --file")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be used ({error})", remedy="give another --file") from None


def _print_use(options: KeyOptions, lines: StepPrinter) -> None:
    load = "" if options.label else f"ssh-add {shlex.quote(str(options.file))}; "
    setting = f"meshfab: {{signing: agent, provisioner: {json.dumps(options.provisioner)}}}"
    lines.note("use it", f"{load}in ~/.invoke.yaml: {setting}")
