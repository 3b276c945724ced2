"""A deploy: the certificate, the new build, a restart, and a check that clients get the new build over HTTPS.

    fab deploy --host h2 --build ./wiki

The host runs the app as `wiki.service`, from /opt/wiki, on port 8080 of the loopback. If provisioning fails, nothing is
deployed or restarted. If the certificate needs no change, provisioning costs one remote command.
"""

from fabric import task
from invoke.exceptions import Exit

from meshfab import MeshfabError, Settings, connect, provision

APP, PORT = "wiki", 8080


@task
def deploy(c, host, build):
    """Deploy a build to a host, behind a certificate that is served and renewed automatically."""
    try:
        # meshfab's connection verifies the host key, so that the build is sent to a verified host only.
        with connect(host, c.config) as target:
            outcome = provision(target, APP, upstream=f"http://127.0.0.1:{PORT}")
            print("certificate:", ", ".join(step.verb for step in outcome.changed) or "nothing to do")
            restart(target, build)
            print("answers:", version(target, outcome.service.fqdn))
    except MeshfabError as error:
        raise Exit(f"nothing was deployed: {error}") from None


def restart(target, build):
    """Replace the old build with the new one, and restart the service."""
    target.put(build, f".{APP}.new")
    target.sudo(f"install -m 0755 .{APP}.new /opt/{APP}", hide=True)
    target.sudo(f"systemctl restart {APP}.service", hide=True)


def version(target, fqdn):
    """Return what a client gets through nginx, as soon as the app runs."""
    root = Settings.load(target.config).root
    ask = f"curl -sS --fail --retry 10 --retry-delay 1 --retry-all-errors --cacert {root}"
    return target.run(f"{ask} https://{fqdn}/version", hide=True).stdout.strip()
