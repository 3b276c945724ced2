"""inv provisioner-key: from no key to a provisioner of a real CA, by the very line that it prints."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.machine.process import wait_until
from lab.services import ca
from tests.integration import ssh_agent
from tests.integration.on_host import assert_done, assert_refused
from tests.support.terminal import Terminal, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Inv, Mesh

pytestmark = pytest.mark.lab

NAME = "key test"


@pytest.fixture
def provisioner() -> Iterator[str]:
    yield NAME
    ca.remove_provisioner(NAME)


def typed(passphrase: str, *args: str) -> str:
    """Run inv at a terminal, and answer both prompts of ssh-keygen; returns all that was shown."""
    command = str(Path(sys.executable).with_name("inv"))
    with terminal() as screen:
        # A session of its own, whose terminal this becomes: ssh-keygen asks at /dev/tty.
        argv = ["setsid", "--ctty", "--wait", command, *args]
        child = subprocess.Popen(argv, stdin=screen.fd, stdout=screen.fd, stderr=screen.fd)
        for prompt in ("no passphrase): ", "again: "):
            wait_until(partial(has_shown, screen, prompt), prompt, 60)
            screen.type(f"{passphrase}\n")
        wait_until(lambda: child.poll() is not None, "inv to end", 60)
        said = screen.shown()
    assert child.returncode == 0, said
    return said


def has_shown(screen: Terminal, prompt: str) -> bool:
    return prompt in screen.shown()


def add_at_the_ca(mesh: Mesh, said: str, folder: Path) -> None:
    """Run the printed line as it stands, in the folder with the file, and have step-ca read its configuration."""
    line = next(line for line in said.splitlines() if "step ca provisioner add" in line)
    argv = shlex.split(line[line.index("step ca") :])
    env = {**os.environ, "STEPPATH": str(mesh.lab.ca)}
    subprocess.run(argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    ca.stop()
    ca.start()


def test_a_new_key_becomes_a_provisioner(mesh: Mesh, inv: Inv, provisioner: str, tmp_path: Path) -> None:
    key = tmp_path / "secrets" / "key"
    words = ("provisioner-key", "--provisioner", provisioner, "--file", str(key))
    assert_refused(inv(*words, "--check"), "there is no key")
    assert_refused(inv(*words), "no terminal")
    assert not key.parent.exists()
    said = typed("a long passphrase", *words)
    assert "a long passphrase" not in said
    assert "it has no passphrase" not in said
    assert [path.stat().st_mode & 0o777 for path in (key, key.parent)] == [0o600, 0o700]
    assert sorted(path.name for path in key.parent.iterdir()) == ["key", "key.json", "key.pub"]
    assert_refused(inv(*words, "--check"), f"no JWK provisioner '{provisioner}'")
    add_at_the_ca(mesh, said, key.parent)
    before = {path: path.read_bytes() for path in key.parent.iterdir()}
    for more in ((), ("--check",)):
        done = assert_done(inv(*words, *more))
        assert "publishes no encrypted key" in done
        assert f'{{signing: agent, provisioner: "{provisioner}"}}' in done
    assert {path: path.read_bytes() for path in key.parent.iterdir()} == before


def test_a_key_that_is_in_the_agent_becomes_one(mesh: Mesh, inv: Inv, provisioner: str, tmp_path: Path) -> None:
    key = ssh_agent.make_key(tmp_path / "mine", "ed25519")
    with ssh_agent.started(tmp_path) as agent:
        agent.add(str(key.path))
        words = ("provisioner-key", "--provisioner", provisioner, "--file", str(tmp_path / "public"), "--agent", "mine")
        said = assert_done(inv(*words, env=agent.env))
        assert key.fingerprint in said
        assert not (tmp_path / "public").exists()
        add_at_the_ca(mesh, said, tmp_path)
        assert "publishes no encrypted key" in assert_done(inv(*words, "--check", env=agent.env))


def test_a_name_that_another_key_has_is_refused_before_anything_is_made(inv: Inv, tmp_path: Path) -> None:
    file = tmp_path / "key"
    line = assert_refused(inv("provisioner-key", "--file", str(file)), "has a provisioner 'lair' already")
    assert "--provisioner lair-agent" in line
    assert list(tmp_path.iterdir()) == []
    ssh_agent.make_key(file, "ecdsa")
    assert_refused(inv("provisioner-key", "--file", str(file)), "'lair' has another key")
    # Without the public half there is nothing to go on, and the key is not overwritten.
    before = file.read_bytes()
    file.with_suffix(".pub").unlink()
    assert_refused(inv("provisioner-key", "--file", str(file)), "is not the public half")
    assert file.read_bytes() == before
