# Install files into nginx's configuration, test it and load it; on any failure restore everything.
# A stopped nginx that was to be started is started with what was there before; then `started` or `stopped` is printed.
# $1 reload, open, start, or '' where nothing includes the files, $2 nginx's error log, $3 its main process, $4 the
# services' names, then for each file: path, the link to make to it or '', its name in `nginx -T` or '', text
# Exit status: status_config_refused, status_server_ignored, status_not_included, those of `load_nginx`, status_busy
# shellcheck shell=sh disable=SC2154
set -u
umask 022
trap '' HUP INT TERM PIPE
# Paths without blanks: what this run has made.
action=$1 log=$2 main=$3 names=$4 new_links='' new_folders='' new_files=''
shift 4

each() { # CALLBACK PATH LINK DUMP-PATH TEXT...: run it for each file, with path, link, dump_path, text, new and old set
	callback=$1
	shift
	while [ $# -ge 4 ]; do
		path=$1 link=$2 dump_path=$3 text=$4 new=${1%/*}/.${1##*/}.new old=${1%/*}/.${1##*/}.old
		"$callback" || return
		shift 4
	done
}
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
prepare() { # with cat, which prints why it could not write
	[ -d "${path%/*}" ] || { install -d -m 0755 -- "${path%/*}" && new_folders="${path%/*} $new_folders" && restore_label "${path%/*}"; } || return
	# A file of a killed run may have any mode; a new file gets 0644 from the umask.
	{ ! is_there "$old" && ! is_there "$new" || rm -f -- "$old" "$new"; } && printf %s "$text" | cat >"$new" && new_files="$new_files $new"
}
keep() { ! is_there "$path" || ln -- "$path" "$old"; }
move() { mv -fT -- "$new" "$path" && restore_label "$path"; }
enable() { [ -z "$link" ] || { ln -s -- "$path" "$link" && new_links="$new_links $link"; }; }
is_included() { [ -z "$dump_path" ] || case $output in *"# configuration file $dump_path:"*) ;; *) return 1 ;; esac }
drop() { rm -f -- "$new" "$old"; }
restore() {
	rm -f -- "$new"
	if is_there "$old"; then mv -fT -- "$old" "$path"; else rm -f -- "$path"; fi
}

# shellcheck disable=SC2086
remove_folders() { [ -z "$new_folders" ] || rmdir -- $new_folders; }
# shellcheck disable=SC2086
restore_all() {
	[ -z "$new_links" ] || rm -f -- $new_links
	each restore "$@"
	remove_folders
}
start_again() { # the operator has agreed to a start, perhaps of an nginx that they have stopped for this run
	[ "$action" = start ] || return 0
	if load_nginx start "$log" "$main" 2>/dev/null; then echo started; else echo stopped; fi
}
refuse() { # STATUS MESSAGE FILES...
	status=$1
	print_error "$2"
	shift 2
	restore_all "$@"
	start_again
	exit "$status"
}

take_nginx_lock || exit
# Nothing is moved before everything is written: a full disk stops it here.
# shellcheck disable=SC2086
if ! each prepare "$@" || ! sync $new_files || ! each keep "$@"; then
	each drop "$@"
	remove_folders
	start_again
	exit 1
fi
if ! each move "$@" || ! each enable "$@"; then
	refuse 1 "the files could not be moved in" "$@"
fi
[ -n "$action" ] || exit 0

output=$(nginx -T 2>&1) || refuse "$status_config_refused" "$output" "$@"
for name in $names; do
	case ${output%%# configuration file*} in *"conflicting server name \"$name\" on "*)
		refuse "$status_server_ignored" "$(printf '%s\n' "$output" | grep -F -m 1 "conflicting server name \"$name\" on ")" "$@" ;;
	esac
done
each is_included "$@" || refuse "$status_not_included" "$dump_path" "$@"
load_nginx "$action" "$log" "$main" || {
	status=$?
	restore_all "$@"
	start_again
	# nginx may still load the files that were just removed: it is reloaded again.
	[ "$action" = start ] || load_nginx reload "$log" "$main" 2>/dev/null
	exit "$status"
}
