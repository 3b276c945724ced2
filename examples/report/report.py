"""A loop over hosts with a report of its own: one line of JSON for each, and an exit status that cron understands.

    python report.py git@h1 wiki@h2

One host that is down hides no other.
"""

import json
import sys

from meshfab import MeshfabError, provision
from meshfab.ssh.connection import connect


def line(name, host):
    """Provision one service, and say what came of it."""
    try:
        with connect(host) as c:
            outcome = provision(c, name)
    except MeshfabError as error:
        return {"host": host, "service": name, "ok": False, "error": error.what, "remedy": error.remedy}
    return {
        "host": host,
        "service": name,
        "ok": True,
        "changed": [step.verb for step in outcome.changed],
        "until": outcome.leaf.not_after.isoformat(),
    }


lines = []
for word in sys.argv[1:]:
    name, _, host = word.partition("@")
    lines.append(line(name, host))
    print(json.dumps(lines[-1]), flush=True)
sys.exit(0 if all(one["ok"] for one in lines) else 1)
