# Try nginx's configuration and load it. $1 reload or start
# Exit status: 3 nginx refuses it, 6 it could not be loaded, 75 somebody else is at it
# shellcheck shell=sh
set -u
trap '' HUP INT TERM PIPE
in_turn || exit
said=$(umask 022 && nginx -t 2>&1) || {
	say "$said"
	exit 3
}
words=$(load "$1") || {
	say "$words"
	exit 6
}
