"""Have the CA sign requests of hosts, or revoke serials, with a provisioner's key that stays on the operator's side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.ca.one_time_token import make_revoke_token, make_token
from meshfab.errors import MintError, RevokeError

if TYPE_CHECKING:
    from meshfab.ca.certificate_request import CertificateRequest
    from meshfab.ca.client import CaAnswer, CaClient
    from meshfab.ca.token_signer import TokenSigner

# PEM. A leaf and two intermediates have 3 KB.
_MAX_CHAIN = 64 * 1024
# RFC 5280, 5.3.1.
CESSATION_OF_OPERATION = 5


@dataclass(frozen=True)
class RequestSigner:
    """Signs requests for one provisioner; threads may share it.

    Attributes:
        client: the CA.
        signer: the provisioner's key.
        provisioner: its name.
        root_fingerprint: SHA-256 of the root, hex.
    """

    client: CaClient
    signer: TokenSigner
    provisioner: str
    root_fingerprint: str

    def sign(self, request: CertificateRequest) -> str:
        """Have a host's request signed, and return the chain, leaf first, PEM.

        Raises:
            MintError: the CA refuses it, or does not answer with a chain.
        """
        token = make_token(
            self.signer,
            self.provisioner,
            f"{self.client.url}/1.0/sign",
            self.root_fingerprint,
            request.names,
            request.der,
        )
        answer = self.client.post("/1.0/sign", {"csr": request.pem, "ott": token})
        if answer.status != 201:
            raise _explain(answer, self.client.url, self.provisioner)
        chain = answer.body.get("certChain")
        pem = "".join(part if part.endswith("\n") else f"{part}\n" for part in chain or () if isinstance(part, str))
        if not pem or len(pem) > _MAX_CHAIN:
            raise MintError(f"the CA at {self.client.url} answered without a chain", remedy="see its log")
        return pem

    def revoke(self, serial: int) -> bool:
        """Have the CA renew the certificate of this serial no more; False if it was revoked already.

        Raises:
            RevokeError: the CA refuses.
            MintError: the CA is not reached.
        """
        audience = f"{self.client.url}/1.0/revoke"
        token = make_revoke_token(self.signer, self.provisioner, audience, self.root_fingerprint, serial)
        body = {"serial": str(serial), "ott": token, "reasonCode": CESSATION_OF_OPERATION, "passive": True}
        answer = self.client.post("/1.0/revoke", body)
        if answer.status == 200:
            return True
        if "is already revoked" in answer.message:
            return False
        error = _explain(answer, self.client.url, self.provisioner)
        raise RevokeError(error.what, remedy=error.remedy)


def _explain(answer: CaAnswer, url: str, provisioner: str) -> MintError:
    """The CA's refusal: 401 for the token, 403 for the request (api/sign.go)."""
    what = f"the CA at {url} refuses ({answer.status}): {answer.message}"
    if answer.status == 401:
        remedy = f"is it the key of '{provisioner}' there, and are this machine's clock and the CA's the same?"
    elif answer.status == 403:
        remedy = "see the CA's policy, and the template of this provisioner"
    else:
        remedy = "see the CA's log"
    return MintError(what, remedy=remedy)
