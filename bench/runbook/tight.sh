#!/bin/sh
# tight.sh HOST NAME: all of provision.sh in one ssh, with the password in its standard input.
set -eu
host=$1 name=$2
here=${0%/*}

# Files go to the host as here-documents of the script, so that no argument list contains the password.
document() { # FUNCTION FILE: define FUNCTION, which prints the content of FILE
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
