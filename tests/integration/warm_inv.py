"""`inv` without the third of a second of imports: a process that has made them once, and that forks for each command.

Eight hundred commands of the tests otherwise spend most of their time on them. A command gets an environment, a folder
and pipes of its own, as from a shell. `./dev test --all`, a named test file, and every test that sends a signal to a
command start the real one; so no promise is proved by this alone.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_REQUEST = 100_000


class WarmInv:
    """The process that forks; it ends with the socket to it, and so with whoever made it, however that ends.

    Args:
        command: the path of `inv`.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        """Let it end."""
        self._requests.close()
        self._process.wait()

    def run(
        self, args: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises:
            TimeoutExpired: it took longer than `timeout` seconds; it was killed.
        """
        argv = [self._command, *args]
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        reply, reply_end = socket.socketpair()
        request = json.dumps({"argv": argv, "env": dict(env), "cwd": str(cwd)}).encode()
        socket.send_fds(self._requests, [request], [out_end, err_end, reply_end.fileno()])
        os.close(out_end)
        os.close(err_end)
        reply_end.close()
        with reply, os.fdopen(out, encoding="utf-8") as stdout, os.fdopen(err, encoding="utf-8") as stderr:
            with reply.makefile(encoding="ascii") as answers, ThreadPoolExecutor(2) as readers:
                pid = int(answers.readline())
                texts = [readers.submit(stream.read) for stream in (stdout, stderr)]
                reply.settimeout(timeout)
                try:
                    status = int(answers.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(argv, timeout) from None
            return subprocess.CompletedProcess(argv, status, texts[0].result(), texts[1].result())


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request, and return it in the process that is to become the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Ctrl-C at the terminal is for the commands.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, fds, _flags, _address = socket.recv_fds(requests, _MAX_REQUEST, 3)
        if not message:
            os._exit(0)
        if os.fork():
            for fd in fds:
                os.close(fd)
            continue
        # This one waits for the command, since the caller is not its parent, and the server takes the next request.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        requests.close()
        out, err, reply = fds
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(out, 1)
            os.dup2(err, 2)
            for fd in fds:
                os.close(fd)
            request: dict[str, Any] = json.loads(message)
            return request
        os.close(out)
        os.close(err)
        os.write(reply, f"{pid}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(reply, f"{status}\n".encode())
        os._exit(0)


def _import_all() -> None:
    """Import what the commands import."""
    for name in ("invoke.main", "fabric", "rich.console", "rich.table", "rich.live", "jinja2", "cryptography.x509"):
        importlib.import_module(name)
    meshfab = importlib.import_module("meshfab")
    for module in pkgutil.walk_packages(meshfab.__path__, "meshfab."):
        # The one runs a command, and the other needs a library that an operator need not have.
        if module.name not in ("meshfab.__main__", "meshfab.fleet.dask_executor"):
            importlib.import_module(module.name)


def main() -> None:
    """Become the commands that are asked for."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    gc.collect()
    gc.freeze()
    request = _serve(requests)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    # As it is for the script `inv`.
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    from invoke.main import program

    program.run()


if __name__ == "__main__":
    main()
