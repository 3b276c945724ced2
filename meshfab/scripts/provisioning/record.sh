# Record certificates that are in place, and print why that is not possible. Nothing depends on it: the next tick records
# what is missing, also where the program is not installed yet. For each certificate: the service's name, its line.
# shellcheck shell=sh
program=/usr/local/libexec/meshfab-history
if [ -x "$program" ]; then "$program" add "$@" 2>&1; fi
:
