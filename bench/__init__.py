"""meshfab against what people do today: `inv bench`, `inv bench.render`, `inv bench.profile`."""
