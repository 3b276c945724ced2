# Print files. Every argument is a path.
# shellcheck shell=sh
for file in "$@"; do
	[ ! -f "$file" ] || put "$file" "$(cat -- "$file")"
done
