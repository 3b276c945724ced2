# Print the addresses that this host's resolver gives for a name, as "name address". $1 the name
# shellcheck shell=sh
timeout 5 getent ahosts "$1" | awk -v name="$1" '{ print name, $1 }' | sort -u
:
