"""The options of earlier runs, read from the files on the host. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from meshfab.config import validation
from meshfab.errors import InputError, NginxError
from meshfab.host import certificate
from meshfab.nginx import vhost

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.host.facts import HostState


def merge_previous_options(state: HostState, service: Service) -> Service:
    """Fill in the options that this run does not give: upstream, mTLS and addresses from the header of our vhost, more
    names from the certificate. So a second run that names only the service changes nothing.
    """
    have = state.services[service.name]
    changes: dict[str, Any] = {}
    header = next((header for header in map(vhost.read_header, have.vhosts.values()) if header), None)
    if header and service.listen is None and isinstance(header.requested.get("listen"), list):
        changes.update(listen=tuple(header.requested["listen"]))
    if header and service.upstream is None and isinstance(header.requested.get("upstream"), str):
        changes.update(
            upstream=header.requested["upstream"],
            mtls=service.mtls or bool(header.requested.get("mtls")),
            verify_upstream=service.verify_upstream and bool(header.requested["verify_upstream"]),
            keep_host=service.keep_host or bool(header.requested["keep_host"]),
        )
    if service.sans is None:
        changes["sans"] = _more_names(have.cert, service)
    try:
        # The header is a file on the host: what goes on is the checked value in its normal form.
        if "upstream" in changes:
            changes["upstream"] = validation.url(changes["upstream"], "the upstream of the vhost on the host")
        if "listen" in changes:
            what = "the address that the vhost on the host listens on"
            changes["listen"] = tuple(validation.listen(word, what) for word in changes["listen"])
    except InputError as error:
        raise NginxError(error.what, host=state.host, remedy="give --upstream, or --listen") from None
    try:
        return dataclasses.replace(service, **changes)
    except InputError as error:
        raise NginxError(error.what, host=state.host, remedy=error.remedy) from None


def _more_names(cert: str | None, service: Service) -> tuple[str, ...] | None:
    leaf = certificate.leaf_of(cert)
    if leaf is None or service.fqdn not in leaf.sans:
        return None
    try:
        # They go into `server_name`: a certificate with a name that is none is not one of ours to keep.
        names = tuple(validation.dns_name(name) for name in leaf.sans)
    except InputError:
        return None
    return tuple(name for name in names if name != service.fqdn) or None
