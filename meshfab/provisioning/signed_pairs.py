"""Pairs whose key a host makes and whose certificate is signed on this side: requests out, chains in."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from meshfab.ca.certificate_request import check_request
from meshfab.errors import MeshfabError, MintError
from meshfab.host import answer_fields
from meshfab.host.call_threads import call_all
from meshfab.provisioning import mint
from meshfab.provisioning.service_lock import staging
from meshfab.ssh.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.service import Service
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.operator_signing import OperatorSigner
    from meshfab.ssh.root_shell import RootShell

# X.520's limit for a CN. Clients ignore it.
_LONGEST_CN = 64
# Requests of one host that are signed at the same time, and the time for each.
_AT_ONCE, _SECONDS = 4, 60


def make_requests(services: Sequence[Service]) -> Request:
    """Make a key and a certificate request for each service on its host, all in one round trip."""
    return Request("facts+request_pairs", tuple(word for service in services for word in _request_words(service)))


def sign_all(
    shell: RootShell, state: HostState, services: Sequence[Service], signer: OperatorSigner, answer: Answer
) -> dict[str, tuple[Leaf, str] | MeshfabError]:
    """Have the requests of services signed here.

    Args:
        shell: the root shell of their host.
        state: the host.
        services: the services.
        signer: signs.
        answer: the host's answer to `make_requests`.

    Returns:
        For each service its new leaf and its chain (PEM), or why there is none.

    Raises:
        MintError: the host cannot make keys or requests.
    """
    if not answer.ok:
        raise MintError(
            f"the host makes no certificate request: {answer.err}", host=shell.host, remedy="is /run full or read-only?"
        )
    fields = answer_fields.parse_fields(answer.out, shell.host)

    def sign(service: Service) -> tuple[Leaf, str] | MeshfabError:
        try:
            request = check_request(fields.get(f"{service.name}/request", ""), service.names)
            chain = signer.sign(request, shell.c)
            # By the operator's own root, and by the host's, which its renewals go by.
            mint.check_pair(replace(state, root=signer.root_pem), service, chain, request.public)
            leaf = mint.check_pair(state, service, chain, request.public)
            return leaf, chain
        except MeshfabError as error:
            error.host = error.host or shell.host
            return error

    # Several at once: the CA writes each certificate to its disk before it answers.
    deadline = time.monotonic() + _SECONDS * len(services)
    results = call_all(sign, services, deadline=deadline, at_once=_AT_ONCE)
    late = MintError(f"no answer of the CA within {_SECONDS * len(services)} s", host=shell.host, remedy="see its log")
    return {service.name: results.get(service, late) for service in services}


def stage_chains(chains: Sequence[tuple[Service, str]]) -> Request:
    """Put the chains of services beside their keys."""
    from meshfab.provisioning.service_lock import staging

    return Request("stage_chains", tuple(word for service, chain in chains for word in (staging(service), chain)))


def _request_words(service: Service) -> tuple[str, ...]:
    """Arguments for request_pairs.sh."""
    subject = f"/CN={service.fqdn}" if len(service.fqdn) <= _LONGEST_CN else "/"
    return service.name, staging(service), subject, ",".join(f"DNS:{name}" for name in service.names)
