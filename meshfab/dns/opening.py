"""Choose the way in which names are written: what the setting `dns` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshfab.config.dns_options import DnsOptions
    from meshfab.config.settings import Settings
    from meshfab.dns.name_server import NameServer


def name_server(options: DnsOptions, settings: Settings, config: Any = None) -> NameServer:
    """Where names are written. Nothing is connected yet.

    Args:
        options: the setting `dns`.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration to carry on.

    Raises:
        InputError: the key cannot be read.
    """
    if options.kind == "rfc2136" and options.server:
        from meshfab.dns.rfc2136 import UpdateServer
        from meshfab.dns.tsig_key import read_key

        return UpdateServer(options.server, options.zone, options.ttl, read_key(options.key_path))
    if options.kind == "command":
        from meshfab.dns.command import CommandServer

        return CommandServer(options.command)
    from meshfab.dns.managed_file import FileServer

    return FileServer(options, settings, config)


def require_usable(settings: Settings) -> None:
    """Require that what the setting `dns` names on this machine can be used, before anything is connected.

    Raises:
        InputError: the key cannot be read.
    """
    if settings.dns_options:
        name_server(settings.dns_options, settings)
