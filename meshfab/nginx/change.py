"""Decide which change nginx's configuration needs to serve a service. Pure: `activation` installs the change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from meshfab.errors import EditedError, NginxError
from meshfab.host.target_file import File, LazyFile
from meshfab.nginx import config_dump, layout, listeners, server_blocks, snippets, sockets, vhost

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.nginx.layout import VhostPath
    from meshfab.nginx.listeners import Endpoint
    from meshfab.nginx.server_blocks import Server


@dataclass(frozen=True)
class NginxChange:
    """The change that nginx's configuration needs.

    Attributes:
        reason: why files must be written; empty when none must.
        vhost_path: where our vhost lies; None when the vhost is not ours.
        files: the files to write; the first one is the vhost if there is one.
        link: the link to make to the first file, or "".
        is_loaded: whether nginx includes the files, and so has to be reloaded.
        config_unreadable: whether the configuration could not be read, so that it must be read again.
        notes: what the operator should know.
    """

    reason: str = ""
    vhost_path: VhostPath | None = None
    files: tuple[File | LazyFile, ...] = ()
    link: str = ""
    is_loaded: bool = True
    config_unreadable: bool = False
    notes: tuple[str, ...] = ()

    @property
    def verb(self) -> Literal["vhost", "snippet"]:
        """What the files are."""
        return "vhost" if self.vhost_path else "snippet"


def decide(
    state: HostState, service: Service, settings: Settings, *, minting: bool = False, force: bool = False
) -> NginxChange:
    """Compare nginx's live configuration with what the service needs.

    Args:
        minting: whether the pair is about to be replaced.
        force: overwrite a managed file that was edited by hand, and take connections from other servers.

    Raises:
        NginxError: the configuration was broken before this run, or a conflicting file is not managed by meshfab.
    """
    vhost_path = layout.choose_vhost_path(state, service, settings)
    config_error = config_dump.config_error(state)
    text = state.services[service.name].vhosts.get(vhost_path.path)
    header = vhost.read_header(text) if text else None
    if config_error:
        if minting and config_dump.is_about(config_error, service):
            # nginx refuses the pair itself: with a new one the configuration can be read.
            return NginxChange(config_unreadable=True)
        raise NginxError(
            f"nginx's configuration was broken before this run: {config_dump.error_line(config_error)}",
            host=state.host,
            remedy="repair it (nginx -t), then run this again",
        )
    planner = ChangePlanner(state, service, settings, vhost_path, force)
    if text and header and layout.is_included(state, vhost_path):
        return planner.managed(text, header)
    servers = server_blocks.find(state, service)
    if not service.vhost or (servers and planner.has_snippets):
        snippet_change = planner.snippets(servers)
        return replace(snippet_change, notes=(*snippet_change.notes, *_closed_key_folder_notes(state, service)))
    if servers:
        return planner.unmanaged(servers)
    if text is not None and not (header and (header.is_untouched or force)):
        raise NginxError(
            f"{vhost_path.path} was not written by meshfab, or edited since, and is not enabled",
            host=state.host,
            remedy="enable it, or move it away",
        )
    return planner.write("no server of nginx answers to the name")


def is_managed(text: str) -> bool:
    """Whether meshfab wrote the file and nobody edited it since."""
    header = vhost.read_header(text)
    return header is not None and header.is_untouched


def serving_endpoint(state: HostState, service: Service, settings: Settings) -> Endpoint | None:
    """Where nginx serves the pair; None where it does not."""
    vhost_path = layout.choose_vhost_path(state, service, settings)
    text = state.services[service.name].vhosts.get(vhost_path.path)
    if text and layout.is_included(state, vhost_path) and is_managed(text):
        return listeners.endpoint(state, listeners.addresses(state, service, settings), settings.listen)
    servers = [block for block in server_blocks.find(state, service) if block.cert == service.cert]
    return listeners.endpoint(state, servers[0].hosts, settings.listen, servers[0].ports[0]) if servers else None


@dataclass(frozen=True)
class ChangePlanner:
    """Plans the change for one service on one host; nginx's configuration is valid."""

    state: HostState
    service: Service
    settings: Settings
    vhost_path: VhostPath
    force: bool

    @property
    def has_snippets(self) -> bool:
        """Whether an earlier run wrote snippets for the operator's own vhost."""
        return snippets.path(self.service, "tls") in self.state.services[self.service.name].vhosts

    def managed(self, text: str, header: vhost.ManagedHeader) -> NginxChange:
        """The managed vhost, in use: as wanted, written for other settings, or edited by hand."""
        listens = listeners.listens(self.state, self.service, self.settings)
        is_wanted = header.input_digest == vhost.input_digest(
            self.service, self.settings, self.state.nginx_version, listens
        )
        conflicts = config_dump.conflicts(self.state, self.service)
        notes = tuple(f"nginx ignores one of two servers for {conflict}: take one out" for conflict in conflicts)
        if header.is_untouched:
            if is_wanted or not self.service.vhost:
                return NginxChange(vhost_path=self.vhost_path, notes=notes)
            return self.write("it was written for other settings")
        if self.force and self.service.vhost:
            return self.write("it was edited by hand, and --force is given")
        is_requested = header.requested == vhost.requested(self.service) or not self.service.vhost
        if is_requested and all(block.has_pair(self.service) for block in server_blocks.find(self.state, self.service)):
            note = f"{self.vhost_path.path} was edited by hand since meshfab wrote it: left as it is"
            return NginxChange(notes=(note, *notes))
        raise EditedError(
            f"{self.vhost_path.path} was edited by hand since meshfab wrote it, and the request would undo that",
            host=self.state.host,
            remedy=vhost.HOW_TO_FORCE,
            diff=vhost.diff(self.vhost_path.path, text, self._render()),
        )

    def unmanaged(self, servers: list[Server]) -> NginxChange:
        """Server blocks that meshfab did not write: correct, or for their owner to change."""
        wrong = [block for block in servers if not block.has_pair(self.service)]
        if wrong:
            block = wrong[0]
            places = "; ".join(map(_place, wrong))
            raise NginxError(
                f"{block.file}:{block.line} serves {self.service.fqdn} with {block.cert or 'no pair of its own'},"
                f" and meshfab does not edit that file; the pair belongs {places}",
                host=self.state.host,
                remedy=f"put `ssl_certificate {self.service.cert};` and `ssl_certificate_key {self.service.key};`"
                " there, or give --no-vhost for a file to include",
            )
        return NginxChange(notes=(_adopted(servers[0]),))

    def snippets(self, servers: list[Server]) -> NginxChange:
        """Snippets for the operator's own vhost, and how to include them."""
        if servers and all(block.has_pair(self.service) for block in servers):
            if not self.has_snippets and not self.service.mtls:
                # The vhost names the pair itself: a snippet that nothing includes would be confusing.
                return self.unmanaged(servers)
            notes = [_adopted(servers[0])]
        else:
            notes = snippets.how_to_include(self.service, servers)
        mtls = snippets.path(self.service, "mtls")
        if self.service.mtls and not layout.is_included(self.state, layout.VhostPath(mtls)):
            notes.append(f"beside its proxy_pass: include {mtls};")
        files = snippets.missing_files(self.state, self.service, self.settings, force=self.force)
        is_loaded = any(layout.is_included(self.state, layout.VhostPath(file.path)) for file in files)
        reason = "for a vhost of yours to include" if files else ""
        return NginxChange(reason, files=files, is_loaded=is_loaded, notes=tuple(notes))

    def write(self, reason: str) -> NginxChange:
        """Write the managed vhost, unless other servers would lose connections or names."""
        self._require_free_names()
        self._require_free_addresses()
        is_included = layout.is_included(self.state, self.vhost_path)
        if not is_included and not layout.would_include(self.state, self.vhost_path):
            path = self.vhost_path.path
            raise NginxError(
                f"nginx's configuration includes nothing at {path}",
                host=self.state.host,
                remedy=f"add `include {path.rpartition('/')[0]}/*.conf;` to its http block, or set meshfab.conf_dir",
            )
        file = LazyFile(self.vhost_path.path, self._render)
        if self.settings.snippets:
            _ = file.text  # the operator's template may be wrong: that must show before anything is changed
        return NginxChange(reason, self.vhost_path, (file,), "" if is_included else self.vhost_path.link)

    def _require_free_names(self) -> None:
        """Refuse a name that another server has: nginx warns of the second server, and ignores it."""
        for name in self.service.names:
            for block in server_blocks.find(self.state, self.service, name, self.vhost_path):
                raise NginxError(
                    f"{name} is served by {block.file}:{block.line} already, and nginx would ignore one of the two",
                    host=self.state.host,
                    remedy="take the name out there, or leave it out here",
                )

    def _require_free_addresses(self) -> None:
        text = self.state.services[self.service.name].vhosts.get(self.vhost_path.path, "")
        requested = listeners.addresses(self.state, self.service, self.settings)
        new_addresses = tuple(address for address in requested if f"listen {address}:443" not in text)
        listener = listeners.shadowed_listener(self.state, new_addresses, self.vhost_path)
        if listener and not self.force:
            raise NginxError(
                f"to listen on {' and '.join(new_addresses)} alone would take the connections there from {listener},"
                " which listens on every address",
                host=self.state.host,
                remedy="give every server of the host that address, or leave --listen out; --force does it anyway",
            )
        listens = listeners.listens(self.state, self.service, self.settings)
        sockets.require_bindable(self.state, self.service.fqdn, listens, self.vhost_path)

    def _render(self) -> str:
        listens = listeners.listens(self.state, self.service, self.settings)
        return vhost.render(self.service, self.settings, self.state.nginx_version, listens)


def _closed_key_folder_notes(state: HostState, service: Service) -> list[str]:
    """Report a key folder that nginx's workers cannot enter, if a worker may have to read the key."""
    folder = service.key.rpartition("/")[0]
    stat = state.stats.get(folder)
    # With an ACL the group's bits are its mask; then some user may enter.
    if not service.mtls or stat is None or stat.mode & 0o011:
        return []
    what = f"{state.nginx_user} cannot enter {folder}, which a variable in proxy_ssl_certificate_key would need"
    return [f"{what}: give it the right to (setfacl -m u:USER:x {folder})"]


def _place(block: Server) -> str:
    """Where a block names its pair, or could name one."""
    return f"at {' and '.join(block.lines)}" if len(block.lines) > 1 else f"after {block.file}:{block.line}"


def _adopted(block: Server) -> str:
    return f"the vhost at {block.file}:{block.line} is yours: adopted unchanged"
