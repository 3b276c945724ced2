"""The operator's namespace: `inv --list` shows it. `inv lab.up` brings up a mesh to try it on."""

from lab.tasks import ns as lab
from meshfab import ns

ns.add_collection(lab, name="lab")
