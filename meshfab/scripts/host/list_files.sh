# Print which of these files there are, one a line: each path, what interrupted runs and ticks leave beside it under hidden
# names, and what is in it if it is a folder. Every argument is a path. Changes nothing.
# shellcheck shell=sh
for file in "$@"; do
	for each in "$file" "${file%/*}/.${file##*/}".*; do
		if [ -e "$each" ] || [ -L "$each" ]; then printf '%s\n' "$each"; fi
	done
	if [ -d "$file" ] && [ ! -L "$file" ]; then find "$file" -mindepth 1 -maxdepth 1; fi
done
