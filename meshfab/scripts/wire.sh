# Put files of ours into nginx's configuration, try it and load it; or leave everything as it was.
# $1 the link to the first file that is to be made or '', $2 reload, open, start, or '' where nothing includes the files,
# $3 nginx's error log, $4 the service's names, $5 what `nginx -T` calls the first file; then for each file: path text
# Exit status: 3 nginx refuses, 4 it would ignore a name, 5 it does not include the file, 6 and 7 see `load` in the
# prelude, 75 somebody else is at it
# shellcheck shell=sh
set -u
trap '' HUP INT TERM PIPE
link=$1 action=$2 log=$3 names=$4 shown=$5 made=''
shift 5

each() { # COMMAND PATH TEXT...: run it for each file, with path, text, new and old set
	do=$1
	shift
	while [ $# -ge 2 ]; do
		path=$1 text=$2 new=${1%/*}/.${1##*/}.new old=${1%/*}/.${1##*/}.old
		"$do" || return
		shift 2
	done
}
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
prepare() { # by cat, which says why it could not write
	[ -d "${path%/*}" ] || { install -d -m 0755 -- "${path%/*}" && made=${path%/*} && label "$made"; } || return
	rm -f -- "$old" && printf %s "$text" | cat >"$new" && chmod 0644 -- "$new" && sync "$new"
}
keep() { ! is_there "$path" || ln -- "$path" "$old"; }
move() { mv -fT -- "$new" "$path" && label "$path"; }
drop() { rm -f -- "$new" "$old"; }
restore() {
	rm -f -- "$new"
	if is_there "$old"; then mv -fT -- "$old" "$path"; else rm -f -- "$path"; fi
}

go_back() {
	[ -z "$link" ] || rm -f -- "$link"
	each restore "$@"
	[ -z "$made" ] || rmdir -- "$made"
}
refuse() { # STATUS WORDS PATH TEXT...
	status=$1
	say "$2"
	shift 2
	go_back "$@"
	exit "$status"
}

in_turn || exit
# Nothing is moved before all is written: a full disk ends it here.
if ! each prepare "$@" || ! each keep "$@"; then
	each drop "$@"
	[ -z "$made" ] || rmdir -- "$made"
	exit 1
fi
if ! each move "$@" || ! { [ -z "$link" ] || ln -s -- "$1" "$link"; }; then
	refuse 1 "the files could not be moved in" "$@"
fi
[ -n "$action" ] || exit 0

said=$(umask 022 && nginx -T 2>&1) || refuse 3 "$said" "$@"
for name in $names; do
	case ${said%%# configuration file*} in *"conflicting server name \"$name\" on "*)
		refuse 4 "$(printf '%s\n' "$said" | grep -F -m 1 "conflicting server name \"$name\" on ")" "$@" ;;
	esac
done
case $said in *"# configuration file $shown:"*) ;; *) refuse 5 "$shown" "$@" ;; esac
load "$action" "$log" || {
	status=$?
	go_back "$@"
	# nginx may yet take up what was just taken back: it is told again.
	[ "$action" = start ] || load reload "$log" 2>/dev/null
	exit "$status"
}
