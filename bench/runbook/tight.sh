#!/bin/sh
# tight.sh HOST NAME: the least that a shell can do: all of provision.sh by one ssh, the password in its input.
set -eu
host=$1 name=$2
here=${0%/*}

# A here-document of the remote script, so that no argument list holds what is in the file.
document() { # FUNCTION FILE: one that prints the file
    printf '%s() { cat <<"END-%s"\n' "$1" "$1"
    cat -- "$2"
    printf '\nEND-%s\n}\n' "$1"
}
{
    echo "name=$name"
    document password "$HOME/.step/secrets/provisioner"
    document service "$here/step@.service"
    document timer "$here/step@.timer"
    document vhost "$here/vhost.conf"
    cat -- "$here/on-host.sh"
} | ssh "$host" sudo sh -s >/dev/null
