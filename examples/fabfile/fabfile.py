"""A plain fabfile: meshfab's tasks, and one of your own that says what a service of yours is.

fab --list
fab -H h2 provision --name git --no-vhost
fab -H h2 wiki
"""

from fabric import task
from invoke.exceptions import Exit

from meshfab import MeshfabError, ns, provision


@task
def wiki(c, port=8080):
    """Give the wiki on the host of -H its certificate and its vhost."""
    try:
        outcome = provision(c, "wiki", upstream=f"http://127.0.0.1:{port}", say=print)
    except MeshfabError as error:
        # One line: where, what, and what to do.
        raise Exit(str(error)) from None
    print(f"https://{outcome.service.fqdn} until {outcome.leaf.not_after:%Y-%m-%d %H:%M} UTC")


ns.add_task(wiki)
