# Show files as they are. Every word is a path.
# shellcheck shell=sh
for file in "$@"; do
	[ ! -f "$file" ] || put "$file" "$(cat -- "$file")"
done
