"""Measures the look from outside at a thousand names: DNS and TLS alone.

lab/operator python -m bench.outside     1,000 names at addresses of the lab's hosts, which answer all of them

It writes what it prints into docs/performance.md too, with its date and versions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout

from bench.page_record import Tee, record
from bench.scale import INV, measure
from lab.faults import address_aliases
from lab.services import dns, hosts

COUNTS = (10, 100, 1000)


def measure_outside() -> None:
    """Show how CPU time, memory and threads grow with the number of declared names."""
    targets = hosts.names()[:8]
    for target in targets:
        # Something must answer: nginx gives this certificate for every other name, too.
        dns.point(f"w{target}", target)
        subprocess.run([INV, "provision", "--name", f"w{target}", "--host", target], check=True, capture_output=True)
    names = address_aliases.add(max(COUNTS), targets)
    try:
        print("| names | wall s | client CPU s | peak MB | threads | certificates received |\n" + "|---" * 6 + "|")
        for count in COUNTS:
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump({"meshfab": {"services": {name: {"host": name} for name in names[:count]}}}, file)
                file.flush()
                usage = measure([INV, "-f", file.name, "check-certs", "--outside", "--format", "json"])
            rows = [row for host in json.loads(usage.output)["hosts"] for row in host["certificates"]]
            answers = sum(row["served_serial"] is not None for row in rows)
            cost = f"{usage.wall:.1f} | {usage.cpu:.2f} | {usage.megabytes:.0f} | {usage.threads}"
            print(f"| {count} | {cost} | {answers} |", flush=True)
    finally:
        address_aliases.remove()


def main() -> int:
    """Measure, print and record."""
    output = Tee()
    with redirect_stdout(output):
        measure_outside()
    record("scale outside", output.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
