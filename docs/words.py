"""The sentences of the documents for each code of `check-certs` and `doctor`; `tables` checks that none is missing."""

_PROVISION = "`inv provision` again"

FINDINGS = {
    "cert-missing": ("A timer, a vhost or the settings name a certificate that does not exist.", _PROVISION),
    "cert-unreadable": ("The file is empty, truncated or not PEM.", _PROVISION),
    "cert-expired": ("The certificate has expired.", _PROVISION),
    "cert-expiring": (
        "Less than a third of the lifetime is left: a renewal was due and did not happen.",
        "`inv renew`, which shows the reason",
    ),
    "cert-not-yet-valid": (
        "The validity starts in the future: a clock is wrong.",
        "correct the clocks, then `inv provision`",
    ),
    "san-mismatch": ("The SANs lack a name of the service, or have one that is not in the settings.", _PROVISION),
    "chain-untrusted": ("The certificate does not chain to the mesh's root on the host.", _PROVISION),
    "key-missing": ("The private key does not exist.", _PROVISION),
    "key-mismatch": ("The key does not match the certificate.", _PROVISION),
    "mode-drift": ("Owner or mode differs from the convention; critical if everybody can read the key.", _PROVISION),
    "acl-missing": ("The ACL does not let nginx's user read the key.", _PROVISION),
    "timer-missing": ("The renewal timer is not enabled or not active.", "`inv renew-enable`"),
    "unit-drift": ("The installed units differ from those of this version.", "`inv renew-enable`"),
    "renewal-failed": (
        "The last tick failed; critical if less than a third of the lifetime is left.",
        "as its message says, then `inv renew`",
    ),
    "tick-silent": (
        "With `--quick`: no tick has ended within the time of two; critical if under a third of the lifetime is left.",
        "`inv check-certs` without `--quick` says whether the timer runs; `inv renew-enable` starts it",
    ),
    "key-old": (
        "The key is older than `rekey_after`, by more than a day: the renewal tried to replace it and failed.",
        "`inv rekey`, which shows the reason",
    ),
    "provisioner-other": (
        "The certificate comes from another provisioner of the CA than the one in the settings.",
        "`inv reissue --provisioner`, which is also the drill for [a leaked key](../how-to/leaked-key.md)",
    ),
    "served-stale": ("TLS clients receive another certificate than the one on disk.", _PROVISION),
    "not-served": (
        "No server answers for the name; a warning if you declared `vhost: false` and have not written the vhost yet.",
        f"start nginx; if it runs, {_PROVISION}; include the file that the message names in your vhost",
    ),
    "dns-mismatch": (
        "The name does not resolve to an address of the host, here or on the host.",
        "correct the mesh's DNS",
    ),
    "dns-public": ("A resolver outside the mesh resolves the name.", "remove it from the public zone"),
    "secret-left": ("A provisioner password is in the host's `/tmp`.", "the `rm` of the remedy"),
    "orphan": (
        "Not declared, and a pair without a timer and a vhost, or a timer or vhost without a pair.",
        "declare it and `inv apply`, or end it with `inv retire`",
    ),
    "undeclared": (
        "meshfab set it up on a host that the declarations name, and it is not declared for it.",
        "declare it, or end it with `inv apply --prune`",
    ),
    "left-out": (
        "The host names more than 20 password files; the others are not shown.",
        "look at the host",
    ),
    "root-mismatch": (
        "The host's root file does not hold exactly the root with the fingerprint `root_fingerprint`.",
        "compare with the CA's, then correct the file or the setting",
    ),
    "clock-skew": (
        "The host's clock differs from this machine's by more than 30 s.",
        "`timedatectl set-ntp true` on the host",
    ),
}

CHECKS = {
    "signing": "Which way of [signing](../how-to/signing.md) is in force.",
    "password": "The password file on your machine exists, is not empty, and is readable by you alone.",
    "agent": "With `signing: agent`: ssh-agent answers, and has the provisioner's key.",
    "operator-root": "With `signing: operator` and `agent`: the root certificate on your machine can be read.",
    "answer": "Shown only if the host's answer cannot be understood; the host is then *unknown*.",
    "host-key": "The host's SSH key is in `known_hosts`.",
    "login": "The login works.",
    "states": "With `--quick`: the login can read the states that ticks publish, and none is old.",
    "names": "With `--quick`: each name leads to the host from here.",
    "clients": "With `--quick`: something answers in TLS there.",
    "sudo": "The login can become root.",
    "step": "`step` or `step-cli` is installed; shows the version.",
    "openssl": "The program is installed (package `openssl`).",
    "curl": "With a URL as `notify` or `ping_url`: the program is installed (package `curl`).",
    "setfacl": "The program is installed (package `acl`).",
    "getfacl": "The program is installed (package `acl`).",
    "flock": "The program is installed (package `util-linux`).",
    "programs": "The other programs that a run and the renewal tick need are installed (`ss`, `pgrep`, `awk`, …).",
    "systemd-run": "The program is installed (package `systemd`).",
    "systemd": "systemd is PID 1, and is version 235 or newer.",
    "nginx": "nginx is installed; shows the version.",
    "nginx-configuration": "`nginx -t` accepts the configuration.",
    "nginx-running": "The unit `nginx.service` is active.",
    "nginx-user": "The user of nginx's workers exists.",
    "root": "The mesh's root certificate is at the path of the setting `root`, and has the pinned fingerprint.",
    "dns-key": "The key that signs updates of the DNS can be read, and only by you.",
    "dns-search": "The domain of the services is no search domain: a router that hands it out answers for it.",
    "dns-anchor": "systemd-resolved's negative trust anchors, where somebody set their own, have the domain.",
    "dns-resolvers": "The resolvers of a machine and the mesh's server give the same addresses of a name.",
    "dns-cache": "No resolver keeps a name longer than its record lives.",
    "dns": "The host resolves the CA's name, and the names of declared services resolve to the host.",
    "ca": "The CA answers.",
    "ca-root": "The root certificate on the host is the CA's; shows its fingerprint, which `root_fingerprint` can pin.",
    "ca-name": "The CA's certificate has the name in `ca_url`.",
    "clock": "The host's clock differs from the CA's by 30 s at most.",
    "provisioner": "The CA has a JWK provisioner with the name in the settings.",
    "provisioner-key": "Whether the CA publishes the provisioner's encrypted key, and with how many rounds of PBKDF2: "
    "fewer than 600,000 are a warning, and with `signing: agent` any are.",
    "provisioner-gone": "Shown only if the certificate of a declared service comes from a provisioner that the CA does "
    "not have any more: each renewal ends with 401 'provisioner not found'.",
    "provisioners-unused": "Shown only if there are provisioners from which no certificate of a declared service "
    "comes, and all hosts of the settings were examined. Others may use them.",
    "lifetime": "The lifetime of certificates is long enough for a tick every 15 minutes (3 hours or more).",
    "disk": "Each folder that a run writes to is writable, and has free space and inodes.",
}
