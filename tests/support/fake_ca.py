"""A step-ca for unit tests: HTTPS over a pair of sockets, without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from meshfab.ca.client import CaClient
from tests.support.certificates import Pair, distinguished_name, pem_of, unsigned


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwk(key: ec.EllipticCurvePrivateKey, **more: str) -> dict[str, str]:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    parts = {"x": public.x, "y": public.y, "d": numbers.private_value}
    return {
        "kty": "EC",
        "crv": "P-256",
        **{name: b64(value.to_bytes(32, "big")) for name, value in parts.items()},
        **more,
    }


def encrypted(text: bytes, password: str, rounds: int = 1000, **header: Any) -> str:
    """A JWE as step writes it, but with fewer rounds; `header` replaces fields."""
    salt, content_key, nonce = os.urandom(16), os.urandom(32), os.urandom(12)
    fields = {
        "alg": "PBES2-HS256+A128KW",
        "cty": "jwk+json",
        "enc": "A256GCM",
        "p2c": rounds,
        "p2s": b64(salt),
        **header,
    }
    protected = b64(json.dumps(fields).encode())
    derived = PBKDF2HMAC(hashes.SHA256(), 16, b"PBES2-HS256+A128KW\0" + salt, rounds).derive(password.encode())
    sealed = AESGCM(content_key).encrypt(nonce, text, protected.encode())
    return ".".join(
        (protected, b64(aes_key_wrap(derived, content_key)), b64(nonce), b64(sealed[:-16]), b64(sealed[-16:]))
    )


def csr(*names: str, key: Any = None, subject: str | None = None) -> str:
    """A certificate request, PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    cn = names[0] if subject is None else subject
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)] if cn else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


Answer = Callable[[str, str, dict[str, Any]], tuple[int, Any]]


@dataclass
class FakeCa:
    """A CA at https://ca.internal, and what it was asked.

    Attributes:
        answer: maps a method, a path and a body to a status and a body.
        name: the name in its certificate.
    """

    answer: Answer
    name: str = "ca.internal"
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._root = issue("root", None)
        self._pair = issue(self.name, self._root)

    @property
    def client(self) -> CaClient:
        """A client that trusts its root."""
        return self.client_with(pem_of(self._root.certificate))

    def client_with(self, root_pem: str) -> CaClient:
        return CaClient("https://ca.internal", root_pem, self.dial)

    def dial(self) -> socket.socket:
        """Our end of a connection to it."""
        self.connections += 1
        ours, theirs = socket.socketpair()
        ours.settimeout(30)
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return ours

    def _serve(self, raw: socket.socket) -> None:
        ca = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                ca.requests.append((self.command, self.path, body))
                status, reply = ca.answer(self.command, self.path, body)
                text = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_args: Any) -> None:
                pass

        with raw, suppress(OSError), self._context().wrap_socket(raw, server_side=True) as tls:
            Handler(tls, ("", 0), None)  # type: ignore[arg-type]

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key = self._pair.key.private_bytes(serialization.Encoding.PEM, *form).decode()
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(pem_of(self._pair.certificate) + key)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def issue(name: str, issuer: Pair | None) -> Pair:
    """A certificate that is valid now, by the machine's own clock; a root if there is no issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = issuer.certificate.subject if issuer else distinguished_name(name)
    hour = timedelta(hours=1)
    builder = unsigned(name, subject, key, datetime.now(timezone.utc) - hour, 24 * hour)
    builder = builder.add_extension(x509.BasicConstraints(issuer is None, None), True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), (), key)


def digest(raw: bytes) -> str:
    """The form of a hash in a token."""
    return b64(hashlib.sha256(raw).digest())
