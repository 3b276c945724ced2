"""The step mint: mint a pair into a staging folder, check it, and move it into place as a whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from meshfab.checks import service_checks
from meshfab.config import password_source
from meshfab.errors import MeshfabError, MintError, NotReadyError
from meshfab.host import answer_fields, certificate, facts
from meshfab.provisioning import password_transfer
from meshfab.provisioning.service_lock import staging
from meshfab.ssh.script import Answer, ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.password import Password
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.ssh.root_shell import RootShell


def mint(shell: RootShell, state: HostState, service: Service, settings: Settings, password: Password) -> Leaf:
    """Ask the CA for a pair, into the staging folder, and check it as strictly as one that is in place.

    Raises:
        MintError: the CA is down or refuses, or the pair is not valid; nothing is left of it.
        SecretLeftError: the password's removal could not be verified.
    """
    ca_args = (settings.provisioner, settings.ca_url, settings.root, *service.names)
    request = Request("mint", (str(state.step), staging(service), service.secret, *ca_args))
    answer = password_transfer.mint_with_password(shell, service, password, request)
    if not answer.ok:
        raise _no_pair(answer, shell.host, settings)
    fields = answer_fields.parse_fields(answer.out, shell.host)
    return check_pair(state, service, fields.get("cert", ""), fields.get("public"))


def check_pair(state: HostState, service: Service, chain: str, public: str | None) -> Leaf:
    """Check a staged pair as strictly as one that is in place, and return its leaf.

    Args:
        state: the host, with its clock and the root to check against.
        service: the service.
        chain: the certificate with its chain, PEM.
        public: the public half of the key, PEM; None if there is no key.

    Raises:
        MintError: with everything that is wrong.
    """
    staged_pair = facts.ServiceState(cert=chain, public=public)
    staged_state = dataclasses.replace(state, services={service.name: staged_pair}, stats={})
    findings = service_checks.check_pair(staged_state, service)
    wrong = [finding.message for finding in findings if finding.status == "critical"]
    leaf = certificate.leaf_of(chain)
    if leaf is None or wrong:
        raise MintError(
            f"the CA's new pair is not valid: {'; '.join(wrong)}",
            host=state.host,
            remedy="see the CA's template for this provisioner",
        )
    return leaf


def commit(state: HostState, services: Sequence[Service]) -> Request:
    """Move the staged pairs into place; the old ones are kept beside them until the new ones are proved."""
    pairs = [word for service in services for word in (staging(service), service.cert, service.key)]
    return Request("commit", (state.nginx_user, *pairs))


def finish(service: Service) -> Request:
    """Move the staged certificate into place, beside the key that an interrupted run had moved."""
    return Request("complete_commit", (service.cert,))


def set_rights(state: HostState, service: Service) -> Request:
    """Set owner, mode and ACL of a pair that is otherwise valid."""
    return Request("set_permissions", (service.cert, service.key, state.nginx_user))


def restore(service: Service) -> Request:
    """Restore the old pair, if there was one."""
    return Request("restore_pair", (service.cert, service.key))


def not_moved(answer: Answer, state: HostState) -> MeshfabError:
    """The error for a failed commit.sh, set_permissions.sh or complete_commit.sh; the old pair is in place."""
    if "setfacl" in answer.err or "no such user" in answer.err:
        return NotReadyError(
            f"no ACL for nginx's user '{state.nginx_user}': {answer.err}",
            host=state.host,
            remedy="is that a user there? else set meshfab.nginx_user",
        )
    return MintError(
        f"the pair could not be put in place: {answer.err}",
        host=state.host,
        remedy="free or repair its file system, then run this again",
    )


def _no_pair(answer: Answer, host: str, settings: Settings) -> MeshfabError:
    """The error for the output of `step ca certificate`, with what the operator can do."""
    output = answer.err
    cases = {
        ("decrypt", "password", "decryption"): (
            "the CA's provisioner does not take this password",
            f"it came from {password_source.describe(settings)}",
        ),
        ("provisioner with name", "provisioner not found", "flag '--provisioner'", "no provisioners"): (
            f"the CA has no provisioner '{settings.provisioner}'",
            "see `step ca provisioner list`, then set meshfab.provisioner",
        ),
        (
            "dial tcp",
            "connection refused",
            "no such host",
            "timeout",
            "deadline",
            "EOF",
            "no route",
        ): (
            f"the CA at {settings.ca_url} is not reached from the host",
            "is it up, and can this host reach it?",
        ),
        ("unknown authority", "certificate signed by"): (
            f"the CA at {settings.ca_url} does not chain to {settings.root}",
            "set meshfab.root to the CA's root",
        ),
        ("request could not be completed",): (
            "the CA refuses the request",
            "see the template of this provisioner, and the CA's policy",
        ),
    }
    if answer.status == ExitStatus.TIMED_OUT:
        output = "timeout: no answer within 60 s"
    for patterns, (what, remedy) in cases.items():
        if any(pattern in output for pattern in patterns):
            return MintError(f"{what} ({output})", host=host, remedy=remedy)
    return MintError(f"step ca certificate failed: {output}", host=host, remedy="see the CA's log")
