"""A loop over hosts with its own report: one line of JSON for each, and exit status 1 if one of them failed.

    python report.py git@h1 wiki@h2

A host that is down does not stop the others.
"""

import json
import sys

from meshfab import MeshfabError, connect, provision


def provision_service(name, host):
    """Provision one service, and return its line of the report."""
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


results = []
for argument in sys.argv[1:]:
    name, _, host = argument.partition("@")
    results.append(provision_service(name, host))
    print(json.dumps(results[-1]), flush=True)
sys.exit(0 if all(result["ok"] for result in results) else 1)
