/*-------------------------------------------------------------------------
 * install.h
 *	  What this database has installed: the extension, its tables' owner, and
 *	  the home that every row of ours is stamped with.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_INSTALL_H
#define FLOW_INSTALL_H

typedef struct FlowInstall
{
	Oid			extension;		/* OID of this CREATE EXTENSION */
	Oid			owner;			/* owner of flow_internal.run */
	Oid			view_schema;	/* OID of schema flow */
	Oid			run_relid;		/* OID of flow_internal.run */
	bool		is_current;		/* its version is that of this library */
	char		function_schema[NAMEDATALEN];	/* where flow_start etc. live */
	int64		home;			/* hash of (system identifier, database,
								 * extension); rows of another home are inert */
	uint32		generation;		/* changes whenever any of the above does */
} FlowInstall;

/*
 * The installation in this database, or NULL if there is none.  Needs a
 * transaction.  Cached; valid until the next command that may process
 * invalidations.
 */
extern const FlowInstall *FlowInstallGet(void);

/* The same, but raises 55000 with a hint if there is none. */
extern const FlowInstall *FlowInstallRequire(void);

/*
 * The role that a row names.  Its OID means something only in the home that it
 * was written in; of a row of another home the name decides.  What belongs to
 * a name that no role has here is for the owner of the tables to look after.
 * Role 0, which is PUBLIC in a grant, is the same everywhere.
 */
extern Oid	FlowInstallLocalRole(int64 home, Oid role, const char *name);

/* The same, for who runs steps: raises 55000 if it is of another version, too. */
extern const FlowInstall *FlowInstallRequireCurrent(void);

/* Was it of another version when it was last looked at?  Needs no transaction. */
extern bool FlowInstallIsForeign(void);

/* At the commit of this transaction, everybody is to look again. */
extern void FlowInstallInvalidate(void);

#endif							/* FLOW_INSTALL_H */
