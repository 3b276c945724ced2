# Print a file of names, after a line that says whether it is there. $1 the file, $2 the most bytes
# Exit status: status_too_long
# shellcheck shell=sh disable=SC2154
[ -e "$1" ] || {
	echo missing
	exit 0
}
[ -f "$1" ] || {
	print_error "$1 is not a file"
	exit 1
}
size=$(stat -L -c %s -- "$1") || exit
[ "$size" -le "$2" ] || exit "$status_too_long"
echo there
head -c "$2" -- "$1"
