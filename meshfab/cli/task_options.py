"""The options that tasks share: their help texts, and the settings that they replace."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from meshfab.config.settings import Settings

if TYPE_CHECKING:
    from invoke.context import Context

_HELP = {
    "name": "short name of the service; it becomes NAME.<domain>",
    "host": "where it runs: a name from ~/.ssh/config, or [user@]host[:port] (default: that of `fab -H`)",
    "san": "one more DNS name in the certificate; repeat for more (default: those that it has)",
    "upstream": "URL that nginx proxies to (default: unchanged)",
    "mtls": "show the pair to the upstream as a client certificate",
    "verify-upstream": "--no-verify-upstream: accept any certificate of an https upstream",
    "keep-host": "send the client's Host to an https upstream, and not the upstream's own name",
    "vhost": "--no-vhost: you write the vhost; meshfab keeps the pair and its renewal",
    "listen": "address for the vhost to listen on, or a network that contains it; repeat for more",
    "force": "overwrite a managed file that you edited; take an address from other servers of the host",
    "start": "start nginx if it is stopped",
    "revoke": "--no-revoke: leave its certificates to expire",
    "last": "also remove the units that all services share; refused while another service is on the host",
    "prune": "retire what meshfab set up on a host and is not declared for it any more, after you confirmed the plan",
    "yes": "with --prune: do not ask",
    "serial": "serial number of the certificate, in decimal as step prints it, or in hex",
    "signing": "host: mint there, with the password; operator: sign here; agent: by ssh-agent (default: the setting)",
    "ask-password": "prompt for the provisioner's password, instead of reading it from its file or command",
    "rehearse": "also renew once through the installed unit, to test the renewal now",
    "dry-run": "read only: the plan and a diff of every file",
    "format": "table, json, prometheus or html",
    "output": "a file to replace atomically, instead of stdout",
    "quick": "a login without sudo: what renewal ticks publish, and what clients see",
    "outside": "no SSH: what clients see of the declared services",
    "watch": "repeat every SECONDS: what changed since the last round; in a pipe one JSON object a line",
    "executor": "where the checks run: threads, processes or dask://HOST:PORT (default: by hosts and processors)",
}
# Options of the tasks that write a vhost, and of those that may need the provisioner's key.
WIRING = ("upstream", "mtls", "verify-upstream", "keep-host", "vhost", "listen", "force", "start")
MINTING = ("signing", "ask-password")
HOSTS = "a host; repeat for more (default: the hosts of the settings and of the declared services)"


def helped(*names: str) -> dict[str, str]:
    """The help texts of these options."""
    return {name: _HELP[name] for name in names}


def settings_of(c: Context, signing: str, ask_password: bool) -> Settings:
    """The settings, with what `--signing` and `--ask-password` say instead."""
    settings = Settings.load(c.config)
    return dataclasses.replace(
        settings, signing=signing or settings.signing, ask_password=ask_password or settings.ask_password
    )
