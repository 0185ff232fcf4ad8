/*-------------------------------------------------------------------------
 * latency.c
 *	  A client's view of latency on an idle server.
 *
 * Measures one of three things from the client's side: a run, from
 * flow_start sent to flow_await returned (two statements, two transactions);
 * a bare durable commit; a NOTIFY from one connection to another and back.
 * The last two are what the first is to be compared with.
 *
 * Between two measurements it sleeps, so that each one finds a server that
 * has gone quiet.  The first WARM_UP are not counted.  Prints p50, p99 and the
 * longest, in milliseconds.
 *
 * Usage: latency run|commit|notify COUNT WARM_UP [WORKFLOW]
 * (connects by the usual PG* variables)
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define PAUSE_US		10000	/* between measurements */
#define REPLY_MS		5000	/* a notification must come within this */

static PGconn *here;
static PGconn *there;
static const char *workflow;

static void
die(const char *what, PGconn *conn)
{
	fprintf(stderr, "latency: %s: %s\n", what, conn ? PQerrorMessage(conn) : "");
	exit(1);
}

static PGconn *
connect_or_die(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect", conn);
	return conn;
}

static void
prepare(const char *name, const char *query)
{
	PGresult   *res = PQprepare(here, name, query, 0, NULL);

	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(query, here);
	PQclear(res);
}

/* Runs a statement; returns its first value, to be freed, or null */
static char *
execute(PGconn *conn, PGresult *res)
{
	char	   *value = NULL;

	if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
		die("a statement failed", conn);
	if (PQntuples(res) > 0)
		value = strdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	return value;
}

static void
wait_for_notification(PGconn *conn)
{
	PGnotify   *note;

	while ((note = PQnotifies(conn)) == NULL)
	{
		struct pollfd fd = {PQsocket(conn), POLLIN, 0};

		if (poll(&fd, 1, REPLY_MS) != 1 || PQconsumeInput(conn) == 0)
			die("no notification came", conn);
	}
	PQfreemem(note);
}

static void
run(void)
{
	const char *name[] = {workflow};
	char	   *number = execute(here, PQexecPrepared(here, "start", 1, name, NULL, NULL, 0));
	const char *id[] = {number};
	char	   *status = execute(here, PQexecPrepared(here, "await", 1, id, NULL, NULL, 0));

	if (status == NULL || strcmp(status, "completed") != 0)
		die("a run did not complete", NULL);
	free(status);
	free(number);
}

static void
commit(void)
{
	free(execute(here, PQexecPrepared(here, "commit", 0, NULL, NULL, NULL, 0)));
}

static void
notify(void)
{
	free(execute(here, PQexec(here, "NOTIFY bench_there")));
	wait_for_notification(there);
	free(execute(there, PQexec(there, "NOTIFY bench_here")));
	wait_for_notification(here);
}

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000.0 + t.tv_nsec / 1000000.0;
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
measure(void (*action) (void), int count, int warm_up)
{
	double	   *taken = calloc(count, sizeof(double));

	if (taken == NULL)
		die("out of memory", NULL);
	for (int i = -warm_up; i < count; i++)
	{
		double		start;

		usleep(PAUSE_US);
		start = now_ms();
		action();
		if (i >= 0)
			taken[i] = now_ms() - start;
	}
	qsort(taken, count, sizeof(double), compare);
	printf("%.3f %.3f %.3f\n", taken[(count - 1) / 2],
		   taken[(count - 1) * 99 / 100], taken[count - 1]);
	free(taken);
}

static void
prepare_all(void)
{
	here = connect_or_die();
	there = connect_or_die();
	free(execute(here, PQexec(here, "LISTEN bench_here")));
	free(execute(there, PQexec(there, "LISTEN bench_there")));
	prepare("start", "SELECT flow_start($1)");
	prepare("await", "SELECT status FROM flow_await($1, '30 s')");
	prepare("commit", "INSERT INTO bench.effect (run_id, step) VALUES (0, 0)");
}

int
main(int argc, char **argv)
{
	static const struct
	{
		const char *name;
		void		(*action) (void);
	}			known[] = {{"run", run}, {"commit", commit}, {"notify", notify}};
	void		(*action) (void) = NULL;

	for (int i = 0; argc >= 4 && i < 3; i++)
	{
		if (strcmp(argv[1], known[i].name) == 0)
			action = known[i].action;
	}
	workflow = argc > 4 ? argv[4] : NULL;
	if (action == NULL || atoi(argv[2]) <= 0 || (action == run && workflow == NULL))
	{
		fprintf(stderr, "usage: latency run|commit|notify COUNT WARM_UP [WORKFLOW]\n");
		return 2;
	}
	prepare_all();
	measure(action, atoi(argv[2]), atoi(argv[3]));
	PQfinish(there);
	PQfinish(here);
	return 0;
}
