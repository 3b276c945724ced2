"""promtool, Prometheus and node_exporter, which judge what we publish: from PATH, or out of Debian's packages.

`python -m tests.support.prometheus_tools` puts them into the lab's cache. The packages are not installed: they would
start daemons. Their version is the one that this machine's apt has and verifies; a mirror keeps no older one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import run
from lab.services import hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RULES = Path(__file__).parents[2] / "docs" / "monitoring" / "alerts.yml"
_FOLDER = "prometheus-tools"
# program -> the package that has it
_PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
}


def find(program: str = "promtool") -> Path | None:
    """Where it is; None if this machine has none."""
    on_path = shutil.which(program)
    path = Path(on_path) if on_path else cache.folder() / _FOLDER / "usr" / "bin" / program
    return path if path.exists() else None


def ensure() -> None:
    """Fetch what is missing."""
    if not all(map(find, _PACKAGES)):
        cache.ensure_folder(_FOLDER, _unpack)


def _unpack(folder: Path) -> None:
    packages = dict.fromkeys(_PACKAGES.values())
    # _apt downloads, and may not write into root's cache.
    fetch = 'cd "$1" && shift && { apt-get -qq download "$@" || { apt-get -qq update && apt-get -qq download "$@"; }; }'
    run(["sh", "-c", f"{fetch} 2>&1", "sh", str(folder), *packages])
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr/bin'
    for archive in folder.glob("*.deb"):
        run(["sh", "-c", unpack, "sh", str(archive), str(folder)])
        archive.unlink()


Alerts = set[tuple[str, str]]


@contextlib.contextmanager
def watching(host: str, textfile_dir: str, folder: Path) -> Iterator[Callable[[], Alerts | None]]:
    """node_exporter on the host, as a user without rights, and Prometheus beside the operator, with our own rules.

    Yields a function that returns the alerts that fire now, each with the service's name; None before the first scrape.
    Only how long a rule waits is cut short.
    """
    unit, endpoint = "test-node-exporter", f"{hosts.address(host)}:9100"
    exporter = f"/usr/local/bin/{unit}"
    shutil.copy(str(find("prometheus-node-exporter")), f"{hosts.root(host)}{exporter}")
    hosts.run(
        host,
        f"systemd-run --quiet --collect --unit={unit} --uid=nobody {exporter} --collector.disable-defaults"
        f" --collector.textfile --collector.textfile.directory={textfile_dir} --web.listen-address={endpoint}",
    )
    rules = "\n".join(line for line in RULES.read_text().splitlines() if not line.strip().startswith("for:"))
    (folder / "rules.yml").write_text(rules)
    scrape = {"job_name": "hosts", "static_configs": [{"targets": [endpoint]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    listen = "127.0.0.1:9090"
    prometheus = subprocess.Popen(
        [
            str(find("prometheus")),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={listen}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def query(expression: str) -> list[dict[str, str]]:
        with urllib.request.urlopen(f"http://{listen}/api/v1/query?query={expression}", timeout=10) as answer:
            return [row["metric"] for row in json.load(answer)["data"]["result"]]

    def firing() -> Alerts | None:
        try:
            if not query("meshfab_tick_success"):
                return None
            return {(row["alertname"], row.get("name") or row.get("file", "")) for row in query("ALERTS")}
        except (urllib.error.URLError, ConnectionError):
            return None

    try:
        yield firing
    finally:
        prometheus.terminate()
        prometheus.wait()
        hosts.run(host, f"systemctl stop {unit}; rm -f {exporter}")


if __name__ == "__main__":
    try:
        ensure()
    except LabError as error:
        sys.exit(str(error))
