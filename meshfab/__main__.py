"""`python -m meshfab`: the same as `meshfab`."""

from meshfab.cli.main import main

if __name__ == "__main__":
    # Guarded: a worker process that is spawned imports this module again.
    main()
