"""The operator's tasks: `inv --list` shows them. `inv lab.up` brings up a mesh to try them on."""

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from bench.tasks import ns as bench
from lab.cli.tasks import ns as lab
from meshfab import ns


@task(help={"version": "such as 1.2.3, as in meshfab/version.py", "dry-run": "all but the tag, and no file is left"})
def release(_c: Context, version: str, dry_run: bool = False) -> None:
    """Check, build and tag a version of meshfab; nothing is pushed or uploaded."""
    import distribution

    try:
        distribution.release(version, dry_run=dry_run)
    except distribution.ReleaseError as error:
        raise Exit(f"no release: {error}", code=1) from None


ns.add_collection(lab, name="lab")
ns.add_collection(bench, name="bench")
ns.add_task(release)
