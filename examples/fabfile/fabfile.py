"""A plain fabfile: the tasks of meshfab, and a task of your own for one service.

fab --list
fab -H h2 provision --name git --no-vhost
fab -H h2 wiki
"""

from fabric import task
from invoke.exceptions import Exit

from meshfab import MeshfabError, ns, provision


@task
def wiki(c, port=8080):
    """Provision the wiki on the host of -H: certificate, renewal and vhost."""
    try:
        outcome = provision(c, "wiki", upstream=f"http://127.0.0.1:{port}", on_step=print)
    except MeshfabError as error:
        # One line: the host, the fault and the remedy.
        raise Exit(str(error)) from None
    print(f"https://{outcome.service.fqdn} until {outcome.leaf.not_after:%Y-%m-%d %H:%M} UTC")


ns.add_task(wiki)
