"""Compares meshfab with other ways to do the same jobs: `inv bench`, `inv bench.render`, `inv bench.profile`."""
