# A throwaway PostgreSQL server; sourced by test/demo/run and bench/run.
#
#   server_install DIR  a private installation of the server with this tree's
#                       flow in it; sets pg_bin to its programs
#   server_start DIR    initdb and start, with the settings of standard input
#   server_stop DIR [CODE]  stop it, if it was started; with an exit code that is
#                       not 0, show the end of its log
#   sql ...             psql, as the superuser unless PGUSER says otherwise
#
# DIR is created, and removed, by the caller.  The server listens on a Unix
# socket there and nowhere else.  Called by root it runs as the system user
# postgres, else as whoever calls.

as_server()
{
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

server_install()
{
	chmod 755 "$1"
	pg_bin=$("$(dirname "${BASH_SOURCE[0]}")/../check/sandbox" "$1/pg")
}

server_start()
{
	local dir=$1

	[ "$(id -u)" != 0 ] || chown postgres "$dir"
	as_server "$pg_bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir'"
		cat
	} >>"$dir/data/postgresql.auto.conf"
	export PGHOST=$dir PGUSER=postgres PGDATABASE=postgres PGPORT=5432
	export PGOPTIONS='-c client_min_messages=warning'
	(cd / && as_server "$pg_bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -s start) ||
		{ tail -n 20 "$dir/server.log" >&2; return 1; }
}

server_stop()
{
	local dir=$1

	case ${2:-0} in
		0 | 130) ;;
		*) tail -n 20 "$dir/server.log" >&2 || true ;;
	esac
	[ ! -f "$dir/data/postmaster.pid" ] ||
		(cd / && as_server "$pg_bin/pg_ctl" -D "$dir/data" -m immediate -s stop) || true
}

sql()
{
	"$pg_bin/psql" -X -q -P pager=off -v ON_ERROR_STOP=1 "$@"
}
