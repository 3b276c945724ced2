"""A deploy: the certificate first, then the new build, a restart, and the proof that clients get it over HTTPS.

    fab deploy --host h2 --build ./wiki

The host runs the app as `wiki.service`, from /opt/wiki, at port 8080 of its own. Nothing is restarted where the
certificate could not be had, and a deploy that changes nothing about it costs one look at the host.
"""

from fabric import task
from invoke.exceptions import Exit

from meshfab import MeshfabError, Settings, provision
from meshfab.ssh.connection import connect

APP, PORT = "wiki", 8080


@task
def deploy(c, host, build):
    """Put a build on a host, behind a certificate that is served and renews itself."""
    try:
        # The connection is meshfab's, so that the build goes to a verified host only, as the password does.
        with connect(host, c.config) as target:
            outcome = provision(target, APP, upstream=f"http://127.0.0.1:{PORT}")
            print("certificate:", ", ".join(step.verb for step in outcome.changed) or "nothing to do")
            restart(target, build)
            print("answers:", version(target, outcome.service.fqdn))
    except MeshfabError as error:
        raise Exit(f"nothing was deployed: {error}") from None


def restart(target, build):
    """Put the build in the place of the old one, and start it."""
    target.put(build, f".{APP}.new")
    target.sudo(f"install -m 0755 .{APP}.new /opt/{APP}", hide=True)
    target.sudo(f"systemctl restart {APP}.service", hide=True)


def version(target, fqdn):
    """What a client gets through nginx, as soon as the app is up."""
    root = Settings.load(target.config).root
    ask = f"curl -sS --fail --retry 10 --retry-delay 1 --retry-all-errors --cacert {root}"
    return target.run(f"{ask} https://{fqdn}/version", hide=True).stdout.strip()
