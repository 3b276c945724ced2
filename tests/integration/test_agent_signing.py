"""The provisioner's key in ssh-agent: the same promises as ever, and no password anywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lab.services import ca
from tests.integration import ssh_agent
from tests.integration.host_trace import traced
from tests.integration.on_host import Site, assert_done, assert_refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Inv, Mesh
    from tests.integration.ssh_agent import Agent, AgentKeyFile

pytestmark = pytest.mark.lab

KINDS = {"ecdsa": "agent-ecdsa", "ed25519": "agent-ed25519"}


@pytest.fixture
def site(clean_host: str) -> Site:
    return Site(clean_host)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, mesh: Mesh) -> Iterator[dict[str, AgentKeyFile]]:
    """A provisioner at the CA for each kind of key; the CA has the public half only."""
    folder = tmp_path_factory.mktemp("keys")
    keys = {kind: ssh_agent.make_key(folder / name, kind) for kind, name in KINDS.items()}
    for kind, name in KINDS.items():
        ca.add_provisioner({"type": "JWK", "name": name, "key": keys[kind].jwk, "claims": ca.CLAIMS})
    yield keys
    for name in KINDS.values():
        ca.remove_provisioner(name)
    mesh.reset("h2", "h3")


@pytest.fixture
def agent(tmp_path: Path, keys: dict[str, AgentKeyFile]) -> Iterator[Agent]:
    with ssh_agent.started(tmp_path) as agent:
        for key in keys.values():
            agent.add(str(key.path))
        yield agent


def settings(agent: Agent, kind: str = "ecdsa", **more: str) -> dict[str, str]:
    values = {"SIGNING": "agent", "PROVISIONER": KINDS[kind], "PROVISIONER_PASSWORD": "/nonexistent/password", **more}
    return {**{f"INVOKE_MESHFAB_{key}": value for key, value in values.items()}, **agent.env}


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_run_a_second_run_and_a_renewal(site: Site, inv: Inv, agent: Agent, kind: str) -> None:
    env = settings(agent, kind)
    said = assert_done(inv("provision", *site.words, env=env))
    assert [line.split()[0] for line in said.splitlines()] == ["mint", "units", "timer", "vhost", "served", site.host]
    assert site.served() == site.serial() != ""
    # The CA says whose token it was.
    assert KINDS[kind] in site.sh(f"openssl x509 -noout -text -in {site.cert}")
    assert site.leftovers() == ""
    before = site.look()
    assert "nothing changed" in assert_done(inv("provision", *site.words, env=env))
    assert site.look() == before
    assert_done(inv("renew", *site.words, env=env))


def test_the_key_can_be_named_where_the_ca_does_not_list_it(
    site: Site, inv: Inv, agent: Agent, keys: dict[str, AgentKeyFile]
) -> None:
    env = settings(agent, AGENT_KEY=KINDS["ecdsa"])
    assert_done(inv("mint", *site.words, env=env))
    # A wrong one is the CA's to refuse.
    site.sh(f"rm {site.cert} {site.key}")
    env = settings(agent, AGENT_KEY=keys["ed25519"].fingerprint)
    assert_refused(inv("mint", *site.words, env=env), site.host, "refuses (401)")


def test_an_agent_that_cannot_sign_is_told_in_one_line(
    site: Site, inv: Inv, agent: Agent, keys: dict[str, AgentKeyFile]
) -> None:
    before, env = site.look(), settings(agent)
    for nowhere in ("", "/nonexistent/agent"):
        line = assert_refused(inv("provision", *site.words, env={**env, "SSH_AUTH_SOCK": nowhere}), "ssh-agent")
        assert site.host not in line, "it is refused before the host is connected"
    agent.add("-D")
    assert_refused(inv("provision", *site.words, env=env), site.host, keys["ecdsa"].fingerprint, "ssh-add")
    # The prompt of `ssh-add -c` is answered with no.
    agent.add("-c", str(keys["ecdsa"].path))
    assert_refused(inv("provision", *site.words, env=env), site.host, "does not sign", "ssh-add -c")
    assert site.look() == before
    assert site.leftovers() == ""


def test_the_host_sees_neither_a_token_nor_the_agent(site: Site, inv: Inv, agent: Agent, tmp_path: Path) -> None:
    # Forwarded, the agent would sign tokens for any name at the command of root on the host.
    forwarding = tmp_path / "forwarding.yaml"
    forwarding.write_text("forward_agent: true\n")
    with traced(site.host, tmp_path / "trace"):
        assert_done(inv("-f", str(forwarding), "provision", *site.words, env=settings(agent)))
    seen = (tmp_path / "trace").read_text(errors="replace")
    assert "BEGIN CERTIFICATE REQUEST" in seen
    assert '"eyJ' not in seen, "a token begins so"
    assert "SSH_AUTH_SOCK=" not in seen, "so it would be in an environment"


def test_a_dry_run_needs_no_agent_and_two_operators_share_one(site: Site, inv: Inv, agent: Agent) -> None:
    said = assert_done(inv("provision", *site.words, "--dry-run", env={**settings(agent), "SSH_AUTH_SOCK": ""}))
    assert "mint" in said
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(inv, "provision", *site.words, env=settings(agent)) for _ in range(2)]
    said = "".join(assert_done(run.result()) for run in runs)
    assert said.count("  mint ") == 1, said
    assert site.served() == site.serial() != ""
    assert site.leftovers() == ""


def test_many_services_on_several_hosts_share_the_agent(inv: Inv, agent: Agent, tmp_path: Path, mesh: Mesh) -> None:
    mesh.reset("h2", "h3")
    sites = [Site(host) for host in ("h2", "h3") for _ in range(4)]
    services = "".join(f"    {site.name}: {{host: {site.host}}}\n" for site in sites)
    file = tmp_path / "mesh.yaml"
    file.write_text(f"meshfab:\n  services:\n{services}")
    said = assert_done(inv("-f", str(file), "apply", env=settings(agent)))
    assert all(site.served() == site.serial() != "" for site in sites), said
    assert "0 changed" in assert_done(inv("-f", str(file), "apply", env=settings(agent)))


def test_doctor_tells_what_is_in_force(inv: Inv, agent: Agent, keys: dict[str, AgentKeyFile]) -> None:
    done = inv("doctor", "--host", "h2", env=settings(agent))
    assert (done.returncode, done.stderr) == (0, "")
    assert "password is used" in done.stdout
    assert f"ssh-agent has the key of provisioner 'agent-ecdsa' ({keys['ecdsa'].fingerprint})" in done.stdout
    assert "publishes no encrypted key of 'agent-ecdsa'" in done.stdout
    # The lab's own provisioner has an encrypted key, as step makes it.
    assert "600,000 rounds" in inv("doctor", "--host", "h2").stdout
    agent.add("-D")
    done = inv("doctor", "--host", "h2", env=settings(agent))
    assert done.returncode == 2
    assert f"does not have the key of provisioner 'agent-ecdsa' ({keys['ecdsa'].fingerprint})" in done.stdout


def test_a_provisioner_that_is_gone_is_told_before_its_renewals_fail(
    site: Site, inv: Inv, agent: Agent, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(f"meshfab:\n  services:\n    {site.name}: {{host: {site.host}}}\n")
    assert_done(inv("-f", str(file), "mint", *site.words, env=settings(agent)))
    ours, removed = ("-f", str(file), "doctor"), ca.remove_provisioner(KINDS["ecdsa"])
    try:
        said = inv(*ours).stdout
        # What the finding says is so.
        assert_done(inv("renew-enable", *site.words))
        assert "not found" in inv("renew", *site.words).stderr
    finally:
        ca.add_provisioner(removed)
    (line,) = (line for line in said.splitlines() if "provisioner-gone" in line)
    assert "critical" in line
    assert "'agent-ecdsa'" in line
    said = inv(*ours).stdout
    assert "provisioner-gone" not in said
    (line,) = (line for line in said.splitlines() if "provisioners-unused" in line)
    assert "'agent-ed25519'" in line
    assert "'agent-ecdsa'" not in line
