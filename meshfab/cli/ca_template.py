"""`inv ca-template`: the template on stdout, so that `> FILE` works, and on stderr what to do with it."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from meshfab.ca import name_template

if TYPE_CHECKING:
    from meshfab.config.settings import Settings


def run(settings: Settings) -> None:
    """Print the template.

    Raises:
        InputError: a declaration is invalid.
    """
    text = name_template.name_template(settings)
    names = name_template.allowed_names(settings)
    allowed = f"the {len(names)} names of the declared services" if names else f"the names below {settings.domain}"
    provisioner = shlex.quote(settings.provisioner)
    print(f"# it allows {allowed}; store it at the CA as FILE, and there:", file=sys.stderr)
    print(f"# step ca provisioner update {provisioner} --x509-template FILE", file=sys.stderr)
    print("# then have step-ca read its configuration: systemctl reload step-ca, or SIGHUP", file=sys.stderr)
    print(text, end="")
