"""What the documents say of each code that `check-certs` and `doctor` print; `tables` holds the codes to the code's."""

_PROVISION = "`inv provision` again"

FINDINGS = {
    "cert-missing": ("A timer, a vhost or the settings name a certificate, and there is none.", _PROVISION),
    "cert-unreadable": ("The file is empty, cut or no PEM.", _PROVISION),
    "cert-expired": ("Its life is over.", _PROVISION),
    "cert-expiring": (
        "Under a third of its life is left, so that a renewal was due and did not come.",
        "`inv renew`, which says why",
    ),
    "cert-not-yet-valid": ("Its life starts in the future: a clock is wrong.", "set the clocks right, then provision"),
    "san-mismatch": ("It lacks a name of the service, or has one that the settings do not name.", _PROVISION),
    "chain-untrusted": ("It does not chain to the mesh's root on the host.", _PROVISION),
    "key-missing": ("There is no key.", _PROVISION),
    "key-mismatch": ("The key is not this certificate's.", _PROVISION),
    "mode-drift": ("Owner or mode is another; critical when everybody can read the key.", _PROVISION),
    "acl-missing": ("nginx's user has no effective right to read the key.", _PROVISION),
    "timer-missing": ("The renewal timer is not enabled or not active.", "`inv renew-enable`"),
    "unit-drift": ("The installed units are not those of this version.", "`inv renew-enable`"),
    "renewal-failed": (
        "The last tick failed; critical under a third of life left.",
        "what its message says, then `inv renew`",
    ),
    "served-stale": ("TLS clients get another certificate than the one on disk.", _PROVISION),
    "not-served": ("Nothing answers for the name.", f"start nginx; else {_PROVISION}"),
    "dns-mismatch": ("The name does not lead to the host, here or on the host.", "the mesh's DNS"),
    "dns-public": ("A resolver outside the mesh knows the name.", "take it out of the public zone"),
    "secret-left": ("A provisioner's password lies in the host's `/tmp`.", "the `rm` that the message names"),
    "orphan": ("A pair that nothing uses, or a timer or vhost without a pair.", "provision it, or end it as it says"),
    "clock-skew": ("The host's clock is over 30 s off this machine's.", "`timedatectl set-ntp true` there"),
}

CHECKS = {
    "password": "The provisioner's password file on your machine: there, not empty, readable by you alone.",
    "host-key": "The host's SSH key is on record.",
    "login": "The login works.",
    "sudo": "The login becomes root.",
    "step": "`step` or `step-cli` is installed, and its version.",
    "openssl": "The program is installed.",
    "setfacl": "The program is installed (package `acl`).",
    "getfacl": "The program is installed (package `acl`).",
    "flock": "The program is installed (package `util-linux`).",
    "systemd-run": "The program is installed.",
    "systemd": "It runs the host, and is 235 or newer.",
    "nginx": "It is installed, and its version.",
    "nginx-configuration": "`nginx -t` takes the configuration.",
    "nginx-running": "The unit is active.",
    "nginx-user": "The user of its workers exists.",
    "root": "The mesh's root certificate lies at the path of the setting `root`.",
    "dns": "The host finds the CA's name, and declared services lead to the host.",
    "ca": "The CA answers.",
    "ca-root": "The root on the host is the CA's.",
    "clock": "The host's clock is the CA's.",
    "provisioner": "The CA has a JWK provisioner of the name in the settings.",
    "lifetime": "Certificates live long enough for a tick every 15 minutes.",
    "disk": "Room, inodes and the right to write, for each folder that a run writes to.",
}
