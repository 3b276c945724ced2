"""The run that ends a service on a host: not served, its certificates revoked, its files gone, each step proved.

The plan is made from what is there. So a run that was interrupted is completed by the next one: what revokes the
certificates (the pair and the history) is removed when they are revoked, and not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import NginxError, NotReadyError, RevokeError, ServedError
from meshfab.host import answer_fields, discovery, service_files, tls_client
from meshfab.host.target_file import File
from meshfab.nginx import activation, change, config_dump, layout, previous_options, removal
from meshfab.nginx.listeners import Endpoint
from meshfab.provisioning import password_transfer, retirement_plan, revocation, service_lock
from meshfab.provisioning.outcome import Retirement
from meshfab.provisioning.remains import ServiceRemains
from meshfab.provisioning.retirement_plan import make_plan
from meshfab.provisioning.revocation_plan import describe
from meshfab.ssh.script import ExitStatus, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfab.checks.endpoint_probe import EndpointObservation, EndpointProbe
    from meshfab.config.service import Service
    from meshfab.host.facts import HostState
    from meshfab.host.history import Generation
    from meshfab.provisioning.operator_signing import OperatorSigner
    from meshfab.provisioning.remains import RetirementRequest
    from meshfab.provisioning.retirement_plan import RetirementPlan
    from meshfab.provisioning.revocation_plan import PlannedRevocation
    from meshfab.ssh.root_shell import RootShell
    from meshfab.ssh.script import Answer

    OnStep = Callable[[str, str], None]

_AGAIN = "run this again; it completes what is half done"


@dataclass(frozen=True)
class RetirementRun:
    """The end of one service on one host, from the first observation to the proof.

    Attributes:
        shell: the host's root shell, open.
        probe: asks as a TLS client.
        request: what was asked for.
        signer: signs tokens here; None if there is none.
        on_step: called with each step's verb and a sentence when it is done.
    """

    shell: RootShell
    probe: EndpointProbe
    request: RetirementRequest
    signer: OperatorSigner | None
    on_step: OnStep

    @property
    def service(self) -> Service:
        """The service."""
        return self.request.service

    def converge(self, *, dry_run: bool) -> Retirement:
        """Do what is missing and prove it; a dry run returns the plan. Errors as for `retire`."""
        remains, plan = self._observe(), None
        try:
            plan = make_plan(remains, self.request)
        except NginxError:
            # Another run may be amid its change: under the lock it is seen whether that is so.
            if dry_run:
                raise
        if plan and (not plan.steps or dry_run):
            return self._result(plan, remains.state)
        paths = retirement_plan.all_paths(self.service, self.request.settings)
        waited, _ = service_lock.take(self.shell, [self.service], service_files.request(paths))
        if waited or plan is None:
            # Another run had the lock: the observation is out of date.
            remains = self._observe()
            plan = make_plan(remains, self.request)
        self._stop_serving(plan, remains)
        if plan.has("timer"):
            self._require(self.shell.run("disable_timer", self.service.name), "its timer could not be stopped")
            self.on_step("timer", f"{self.service.timer} disabled and stopped")
        for each in plan.revocations:
            self._revoke(each, remains.state)
        self._remove(plan, remains.state, paths)
        if plan.units:
            answer = self.shell.run("remove_units", *plan.units)
            self._require(answer, "the shared units stay")
            self.on_step("units", f"removed: {', '.join(plan.units)}")
        return self._result(plan, remains.state)

    def _observe(self) -> ServiceRemains:
        settings, service = self.request.settings, self.service
        paths = retirement_plan.all_paths(service, settings)
        found, listed = self.shell.batch(
            [discovery.request(settings, [service], judge=False), service_files.request(paths)]
        )
        host = discovery.parse(found, self.shell.host, settings, [service])
        files = service_files.parse(listed, paths)
        certs = [path for path in files if path.startswith((f"{service_files.past(service)}/", _beside(service.cert)))]
        keys = [path for path in files if path == service.key or path.startswith(_beside(service.key))]
        read, public = self.shell.batch([Request("read", tuple(certs)), Request("read_keys", tuple(keys))])
        return ServiceRemains(
            discovery=host,
            files=files,
            certs=answer_fields.parse_fields(read.out, self.shell.host),
            keys=answer_fields.parse_fields(public.out, self.shell.host),
            clients=self._ask_as_client(host.state) if layout.is_running(host.state) else None,
        )

    def _ask_as_client(self, state: HostState) -> EndpointObservation:
        try:
            merged = previous_options.merge_previous_options(state, self.service)
            endpoint = change.serving_endpoint(state, merged, self.request.settings)
        except NginxError:
            endpoint = None  # the header of the vhost cannot be used: ask where clients ask
        return self.probe.observe(state.addresses, {self.service.fqdn: endpoint or Endpoint()})[self.service.fqdn]

    def _stop_serving(self, plan: RetirementPlan, remains: ServiceRemains) -> None:
        """Take the vhosts out, and prove that no client gets the certificate any more."""
        if not (plan.vhosts or plan.served):
            return
        state, fqdn = remains.state, self.service.fqdn
        answer = self.shell.run("remove_vhost", *removal.remove(state, plan.vhosts).args)
        if not answer.ok:
            raise removal.explain(answer, state)
        if remains.clients is not None:
            before = remains.clients
            endpoint = Endpoint(tuple(each.address for each in before.answers), before.answers[0].port)

            def ask() -> EndpointObservation:
                return self.probe.observe(state.addresses, {fqdn: endpoint})[fqdn]

            after = tls_client.until(lambda seen: not _still_served(seen, plan), ask)
            if _still_served(after, plan):
                raise self._still_served(plan, state, after)
        what = ", ".join(each.path for each in plan.vhosts) or "no vhost was left"
        proof = f"clients of {fqdn} get nothing from this host" if remains.clients else "nginx does not run"
        self.on_step("vhost" if plan.vhosts else "reload", f"removed: {what}; {proof}")

    def _still_served(self, plan: RetirementPlan, state: HostState, seen: EndpointObservation) -> ServedError:
        texts = state.services[self.service.name].vhosts
        back = [
            activation.Activation(
                self.service.names,
                change.NginxChange("restored", each, (File(each.path, "0644", f"{texts[each.path]}\n"),), each.link),
            )
            for each in plan.vhosts
        ]
        restored = not back or self.shell.batch([activation.install(state, back)])[0].ok
        location = next(answer.location for answer in seen.answers if answer.der in plan.served)
        result = "the vhost is back in place" if restored else "the vhost could not be put back"
        what = f"clients at {location} still get the certificate of {self.service.fqdn} without its vhost; {result}"
        return ServedError(what, host=state.host, remedy="see which server of nginx answers there (nginx -T)")

    def _revoke(self, each: PlannedRevocation, state: HostState) -> None:
        """Revoke one certificate: with its own pair on the host if it is there, else with a token."""
        generation, settings = each.generation, self.request.settings
        error, was_revoked = None, None
        if each.key:
            answer = self.shell.batch(
                [revocation.revoke_pair(state, each.cert, each.key, generation.serial, settings)], timeout=45.0
            )[0]
            error = None if answer.ok else revocation.explain(answer, state.host, settings)
            was_revoked = revocation.was_revoked(answer)
        if was_revoked is None or error:
            if self.signer is None or not each.may_sign:
                raise self._not_revoked(error, generation)
            try:
                was_revoked = not self.signer.revoke(generation.serial, self.shell.c)
            except RevokeError as refusal:
                raise self._not_revoked(refusal, generation) from None
        self.shell.batch([revocation.mark(self.service, generation.serial)])
        self.on_step("revoke", f"{describe(generation)}: {'was revoked before' if was_revoked else 'renewed no more'}")

    def _not_revoked(self, error: RevokeError | None, generation: Generation) -> RevokeError:
        what = error.what if error else "nothing here can sign a revocation"
        remedy = (
            f"run this again when that is repaired, or give --no-revoke: it ends {generation.not_after:%Y-%m-%d %H:%M}"
        )
        return RevokeError(
            f"serial {generation.serial} is not revoked, and the pair stays on the host: {what}",
            host=self.shell.host,
            remedy=f"{remedy} UTC",
        )

    def _remove(self, plan: RetirementPlan, state: HostState, paths: Sequence[str]) -> None:
        """Remove the files; prove that none is left, and that nginx accepts its configuration."""
        # All of these, whether they were there or not: a tick that was stopped may have left one since, and the lock is
        # this run's own.
        last = service_files.others(self.service, self.request.settings)
        files = (*plan.tested, *(path for path in plan.files if path not in last), *last)
        tested = len(plan.tested) if "nginx" in state.tools else 0
        sweep = [password_transfer.sweep(self.service)]
        answers = self.shell.batch(
            [*sweep, Request("remove_service", (str(tested), *files)), service_files.request(paths)]
        )
        if answers[-1].script == "remove_service" and answers[-1].status == ExitStatus.CONFIG_REFUSED:
            what = f"nginx refuses its configuration without the pair: {config_dump.error_line(answers[-1].err)}"
            raise NginxError(what, host=state.host, remedy=f"take out what it names, then {_AGAIN}")
        self._require(answers[-1], "its files could not be removed")
        kept = retirement_plan.kept_files(state, self.service, self.request.settings)
        left = [path for path in service_files.parse(answers[-1], paths) if path not in kept]
        if left:
            raise NotReadyError(f"files are left: {', '.join(left)}", host=state.host, remedy=_AGAIN)
        if plan.has("remove"):
            self.on_step(
                "remove", f"{len(plan.tested) + len(plan.files)} files, and nothing of {self.service.name} is left"
            )

    def _require(self, answer: Answer, what: str) -> None:
        if not answer.ok:
            raise NotReadyError(f"{what}: {answer.err}", host=self.shell.host, remedy=_AGAIN)

    def _result(self, plan: RetirementPlan, state: HostState) -> Retirement:
        revoked = tuple(each.generation for each in plan.revocations)
        files = (*(each.path for each in plan.vhosts), *plan.tested, *plan.files) if plan.steps else ()
        return Retirement(
            self.shell.host,
            self.service,
            plan.steps,
            tuple(dict.fromkeys((*files, *plan.units))),
            revoked,
            plan.unrevoked if plan.steps else (),
            plan.notes,
            state.addresses,
        )


def _beside(path: str) -> str:
    """What the names of files begin with that interrupted runs leave beside a file."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}."


def _still_served(seen: EndpointObservation, plan: RetirementPlan) -> bool:
    return any(answer.der in plan.served for answer in seen.answers)
