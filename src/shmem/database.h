/*-------------------------------------------------------------------------
 * database.h
 *	  The databases that have the extension, and what their schedulers are
 *	  asked to do.
 *
 * A backend leaves a request here and sets the scheduler's latch, or, when
 * there is no scheduler, the launcher's, which starts one.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_DATABASE_H
#define FLOW_DATABASE_H

#include "datatype/timestamp.h"

#define FLOW_MAX_DATABASES	128

/* Requests to a scheduler, as bits */
#define FLOW_ASK_STAFF		0x01	/* there is work and no idle worker */
#define FLOW_ASK_REFILL		0x02	/* the queue overflowed */
#define FLOW_ASK_TIMERS		0x04	/* a due time came that is earlier, or the
									 * ring overflowed */
#define FLOW_ASK_EMIT		0x08	/* there are event rows to announce */
#define FLOW_ASK_SWEEP		0x10	/* look at everything */
#define FLOW_ASK_CANCEL		0x20	/* steps were interrupted: do they stop? */
#define FLOW_ASK_PRUNE		0x40	/* runs have ended that may be kept for a
									 * while only */
#define FLOW_ASK_ADMIT		0x80	/* something waits for a place under a
									 * limit, or there may be one again */
#define FLOW_ASK_SIGNALS	0x100	/* signals were sent, which expire */

/*
 * Runs of which workflows wait for a place under a limit, as a set of bits: one
 * for many workflows, and one (0) for steps under named limits
 */
#define FLOW_AWAITS_PLACE(workflow_id) \
	(UINT64CONST(1) << ((workflow_id) == 0 ? 0 : 1 + (workflow_id) % 63))
#define FLOW_AWAITS_ANY		(~UINT64CONST(0))

typedef enum FlowDatabaseState
{
	FLOW_DATABASE_FREE,			/* slot not in use */
	FLOW_DATABASE_UNKNOWN,		/* to be probed */
	FLOW_DATABASE_STARTING,		/* a scheduler has been registered */
	FLOW_DATABASE_PRESENT,		/* a scheduler runs */
	FLOW_DATABASE_RESTING,		/* has the extension; scheduler has left */
	FLOW_DATABASE_ABSENT		/* has no extension */
} FlowDatabaseState;

typedef struct FlowDatabaseInfo
{
	Oid			database;
	FlowDatabaseState state;
	uint32		asked;			/* FLOW_ASK_... waiting to be taken */
	int			scheduler_pid;
	TimestampTz next_due;		/* DT_NOEND: none; while a scheduler runs: the
								 * earliest since it has taken requests */
	TimestampTz let_go_until;	/* no process of ours may start before */
	int64		emitted;		/* highest event id announced; 0: unknown */
	int			wanted;			/* roles that could work and have no worker */
	bool		watched;		/* something is under suspicion */
	bool		promoted;		/* the server was, since this database was
								 * worked in */
	bool		no_slot;		/* no place in the server for its processes */
	bool		at_once;		/* failures before do not count any more */
	bool		is_foreign;		/* the extension's version is another; said */
	bool		keeps;			/* some workflow keeps its runs, or their
								 * payloads, for a while only */
	uint64		awaits;			/* bits: whose places are waited for */
	TimestampTz signals_due;	/* when the oldest untaken signal expires, as
								 * far as the scheduler knows; DT_NOEND: none */
	bool		has_additions;	/* others put something on our tables; said */
	int			prepared;		/* transactions prepared with something to
								 * announce; after a start, as many as there
								 * can be; -1: not known yet */
} FlowDatabaseInfo;

/*
 * Leaves requests for the scheduler of a database and wakes it or the
 * launcher.  Makes the slot if there is none.  Cannot fail; safe in a commit
 * callback.  Does nothing if the library was not preloaded.
 */
extern void FlowDatabaseAsk(Oid database, uint32 ask);

/* Says that a step falls due at that time; as FlowDatabaseAsk. */
extern void FlowDatabaseAskDue(Oid database, TimestampTz due);

/*
 * A transaction that has something to announce was prepared: its COMMIT PREPARED
 * announces nothing by itself, so it is to be followed by a sweep.
 */
extern void FlowDatabaseNotePrepared(Oid database);
extern bool FlowDatabaseTakePrepared(Oid database); /* was there one? */

/*
 * The extension was created or altered (or may have been), or processes may
 * come back: probe the database, whatever was found there before.
 */
extern void FlowDatabaseProbe(Oid database);

/*
 * The scheduler's side.  It attaches before it reads any table, and takes its
 * requests before it looks at what they are about (the ring, the tables).  One
 * that ends without detaching leaves a next_due of a second from then.
 */
extern void FlowDatabaseAttach(Oid database);	/* I am its scheduler */
extern void FlowDatabaseDetach(Oid database, FlowDatabaseState state,
							   TimestampTz next_due);
extern uint32 FlowDatabaseTake(Oid database);	/* the requests, now cleared */
extern bool FlowDatabaseHasAsked(Oid database);

/*
 * How many roles of all databases wait for another's worker to give way (see
 * FlowDatabaseSetWanted), and whether any does.
 */
extern int	FlowDatabaseWanted(void);
extern bool FlowDatabaseIsWanted(void); /* a hint, without the lock */

/*
 * For facts.c.  Sets a field of FlowDatabaseInfo by its offset and size (of a
 * bool, int or 64-bit integer), and returns what it was; 0 if the database has
 * no slot, where nothing is set.
 */
extern uint64 FlowDatabaseSetField(Oid database, size_t offset, size_t size,
								   uint64 value);

/*
 * Likewise.  What is known of a database, in shared memory, to be read without
 * the lock, as a hint: the slot may be given to another one meanwhile.  NULL:
 * nothing.
 */
extern const volatile FlowDatabaseInfo *FlowDatabasePeek(Oid database);

/* The launcher's side.  No state is set while a scheduler is attached. */
extern void FlowDatabaseLauncherAttach(void);
extern int	FlowDatabaseList(FlowDatabaseInfo *out, int max);
extern bool FlowDatabaseGet(Oid database, FlowDatabaseInfo *out);
extern void FlowDatabaseSetState(Oid database, FlowDatabaseState state);
extern void FlowDatabaseForget(Oid database);
extern void FlowDatabaseWakeLauncher(void);

/*
 * No process of ours may be or come in that database until then; those that
 * are there are told to end, gently or not (FlowSlotTerminate).  Returns the
 * number of those still there.  A time that has passed takes it back.  A
 * process that starts asks FlowDatabaseIsLetGo after FlowSlotAttach: it is
 * told, or it sees it.
 */
extern int	FlowDatabaseLetGo(Oid database, TimestampTz until, bool gently);
extern bool FlowDatabaseIsLetGo(Oid database);

extern Size FlowDatabaseShmemSize(void);
extern void FlowDatabaseShmemInit(void);

#endif							/* FLOW_DATABASE_H */
