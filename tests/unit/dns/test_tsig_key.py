"""The key of DNS updates: the forms that servers' tools write, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshfab.config import password
from meshfab.dns.tsig_key import TsigKey, parse_key, read_key
from meshfab.errors import InputError, NotReadyError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "c2VjcmV0LW9mLXRoZS1tZXNo"


@pytest.mark.parametrize(
    "text",
    [
        f'key "mesh" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n',
        f"# made by hand\nkey mesh {{ secret {SECRET}; algorithm HMAC-SHA256.; }};",
        f"# hmac-sha256:mesh:{SECRET}\nkey:\n- id: mesh\n  algorithm: hmac-sha256\n  secret: {SECRET}\n",
        f"hmac-sha256:mesh:{SECRET}\n",
    ],
    ids=["tsig-keygen", "another order", "keymgr", "one line"],
)
def test_the_forms_of_servers_tools_are_read(text: str) -> None:
    key = parse_key(text)
    assert key is not None
    assert (key.name, key.algorithm, str(key.secret)) == ("mesh", "hmac-sha256", SECRET)


@pytest.mark.parametrize(
    "text",
    ["", "key mesh { };", f"key m {{ algorithm hmac-md5; secret {SECRET}; }};", "hmac-sha256:mesh:not=base64="],
)
def test_what_is_no_usable_key_is_none(text: str) -> None:
    assert parse_key(text) is None


def test_no_error_and_no_repr_shows_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mesh.key"
    file.write_text(f"hmac-md5:mesh:{SECRET}")
    with pytest.raises(InputError, match="has no TSIG key") as refused:
        read_key(file)
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(TsigKey("mesh", "hmac-sha256", password.HiddenText(SECRET)))
    with pytest.raises(InputError, match="does not exist"):
        read_key(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path)
    monkeypatch.setattr(password, "_is_own_worker", True)
    with pytest.raises(NotReadyError):
        read_key(file)
