"""A certificate template for step-ca that lets a provisioner issue the mesh's names and no other.

step-ca's own policy of names holds for all provisioners; a template belongs to one. It is JSON with Go's text/template
and the functions of sprig (https://smallstep.com/docs/step-ca/templates/). step-ca applies it when it signs a request;
a renewal copies the old certificate.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshfab.config import inventory

if TYPE_CHECKING:
    from meshfab.config.settings import Settings

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
# clientAuth lets a host renew: it shows its certificate to the CA (mTLS). The rest is step-ca's default for leaves.
_TEMPLATE = """\
{{- /* The names that this provisioner may issue; made by `inv ca-template`. */ -}}
{{- RULE -}}
{{- $requested := list -}}
{{- if not .SANs }}{{ fail "a certificate without DNS names" }}{{ end -}}
{{- range .SANs -}}
{{- if ne .Type "dns" }}{{ fail (printf REFUSAL .Value) }}{{ end -}}
{{- $requested = append $requested .Value -}}
{{- end -}}
{{- with .Subject.CommonName }}{{ $requested = append $requested . }}{{ end -}}
{{- range $requested -}}
{{- if not (IS_ALLOWED) }}{{ fail (printf REFUSAL .) }}{{ end -}}
{{- end -}}
{
  "subject": {{ toJson .Subject }},
  "sans": {{ toJson .SANs }},
{{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
  "keyUsage": ["keyEncipherment", "digitalSignature"],
{{- else }}
  "keyUsage": ["digitalSignature"],
{{- end }}
  "extKeyUsage": ["serverAuth", "clientAuth"]
}
"""


def allowed_names(settings: Settings) -> tuple[str, ...]:
    """The names of all declared services, sorted; empty if none is declared.

    Raises:
        InputError: a declaration is invalid.
    """
    services = [service for host in inventory.hosts(settings) for service in inventory.services(host, settings)]
    return tuple(sorted({name for service in services for name in service.names}))


def name_template(settings: Settings) -> str:
    """The template for the names of the declared services, or where none is declared for all below `domain`.

    The CA's own name is not among those below `domain`: whoever has a certificate for it can pass for the CA.

    Raises:
        InputError: a declaration is invalid.
    """
    names = allowed_names(settings)
    if names:
        rule, is_allowed = f"$names := list {' '.join(map(_quoted, names))}", "has . $names"
        refusal = "%s is not a name of a declared service of the mesh"
    else:
        below = settings.domain.replace(".", "[.]")
        ca = urlsplit(settings.ca_url).hostname or ""
        rule = f"$pattern := {_quoted(f'^({_LABEL}[.])+{below}$')}"
        is_allowed = f"and (regexMatch $pattern .) (ne . {_quoted(ca)})"
        refusal = f"%s is not a name of a service below {settings.domain}"
    values = {"RULE": rule, "IS_ALLOWED": is_allowed, "REFUSAL": _quoted(refusal)}
    return re.sub("|".join(values), lambda match: values[match[0]], _TEMPLATE)


def _quoted(text: str) -> str:
    """A string of Go. JSON's escapes are Go's too, for what a DNS name or our own words can hold."""
    return json.dumps(text)
