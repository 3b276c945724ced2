"""An ssh-agent of the operator with keys of provisioners, for tests that sign with it."""

from __future__ import annotations

import base64
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.machine.process import wait_until
from meshfab.ca import public_jwk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class AgentKeyFile:
    """A private key in a file without a passphrase."""

    path: Path

    @property
    def blob(self) -> bytes:
        return base64.b64decode(self.path.with_suffix(".pub").read_text().split()[1])

    @property
    def jwk(self) -> dict[str, str]:
        return public_jwk.of_ssh_key(self.blob)

    @property
    def fingerprint(self) -> str:
        """As OpenSSH has it, and not as we compute it."""
        return subprocess.run(
            ["ssh-keygen", "-l", "-f", str(self.path)], capture_output=True, text=True, check=True
        ).stdout.split()[1]


def make_key(path: Path, kind: str) -> AgentKeyFile:
    words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True)
    return AgentKeyFile(path)


@dataclass
class Agent:
    """A running ssh-agent, whose prompts (`ssh-add -c`) are answered with no."""

    socket: Path

    @property
    def env(self) -> dict[str, str]:
        return {"SSH_AUTH_SOCK": str(self.socket)}

    def add(self, *options: str) -> None:
        """Run ssh-add."""
        subprocess.run(["ssh-add", "-q", *options], env=self.env, capture_output=True, check=True)


@contextmanager
def started(folder: Path) -> Iterator[Agent]:
    socket = folder / "agent"
    env = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], env=env, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(socket.is_socket, "ssh-agent", 30)
            yield Agent(socket)
        finally:
            process.terminate()
