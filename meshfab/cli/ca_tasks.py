"""The tasks about the CA's provisioner, which work on no host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from meshfab.cli.error_lines import one_line_errors
from meshfab.config.settings import Settings

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    help={
        "provisioner": "name of the provisioner (default: the setting)",
        "file": "the key; its public half is written to FILE.json for the CA",
        "key-type": "ecdsa (on P-256) or ed25519",
        "agent": "take the key with this fingerprint or comment in ssh-agent, and make none",
        "check": "make nothing: check that the CA has the provisioner with this key, and no encrypted key of it",
    }
)
def provisioner_key(
    c: Context,
    provisioner: str = "",
    file: str = "~/.step/secrets/provisioner-key",
    key_type: str = "ecdsa",
    agent: str = "",
    check: bool = False,
) -> None:
    """Make a provisioner's key for ssh-agent, say what is to do at the CA, and check the result."""
    with one_line_errors():
        from meshfab.cli import provisioner_key as command

        settings = Settings.load(c.config)
        path = Path(file).expanduser()
        options = command.KeyOptions(provisioner or settings.provisioner, path, key_type, agent, check)
        command.run(settings, options)


@task
def ca_template(c: Context) -> None:
    """Print a template for the CA, with which the provisioner can issue the mesh's names only."""
    with one_line_errors():
        from meshfab.cli import ca_template as command

        command.run(Settings.load(c.config))
