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
    if header:
        try:
            changes.update(_of_header(header.requested, service))
        except InputError as error:
            what = f"{error.what}, in the vhost on the host"
            raise NginxError(what, host=state.host, remedy="give --upstream, or --listen") from None
    if service.sans is None:
        changes["sans"] = _more_names(have.cert, service)
    try:
        return dataclasses.replace(service, **changes)
    except InputError as error:
        raise NginxError(f"{error.what}, in the vhost on the host", host=state.host, remedy=error.remedy) from None


def _of_header(requested: dict[str, Any], service: Service) -> dict[str, Any]:
    """The options that the run does not give. The header is a file on the host: it is checked as the operator's are."""
    changes: dict[str, Any] = {}
    listen, upstream = requested.get("listen"), requested.get("upstream")
    if service.listen is None and isinstance(listen, list):
        changes["listen"] = tuple(validation.listen(word) for word in listen)
    if service.upstream is None and upstream is not None:
        changes.update(
            upstream=validation.url(upstream, "the upstream"),
            mtls=service.mtls or requested.get("mtls") is True,
            verify_upstream=service.verify_upstream and requested.get("verify_upstream") is not False,
            keep_host=service.keep_host or requested.get("keep_host") is True,
        )
    return changes


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
