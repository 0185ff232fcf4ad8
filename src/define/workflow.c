/*-------------------------------------------------------------------------
 * workflow.c
 *	  Define, show, check, drop, enable and grant workflows.
 *
 * The caller's rights come first, then the checks of what was written, then
 * the workflow's row is locked until the end of the transaction, so that two
 * who define or drop one name queue.  A new version never touches the older
 * ones: their runs go on as they began.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/install.h"
#include "catalog/cat_release.h"
#include "catalog/cat_definition.h"
#include "catalog/cat_workflow.h"
#include "define/access.h"
#include "define/check.h"
#include "define/limited.h"
#include "define/parse.h"
#include "define/workflow.h"
#include "shmem/wake.h"

#define MAX_LOCK_TRIES	10

/* Privileges on a workflow */
static const char *const privileges[] = {
	"start", "read", "approve", "operate", "work"
};

static bool lock_or_insert(const char *name, FlowWorkflow *workflow);
static void require_not_held(const char *name);
static void raise_held(const char *name, const char *owner);
static void take_restored(FlowWorkflow *workflow, int32 version);
static void fill_search_path(FlowSpec *spec);
static bool is_same(const FlowWorkflow *workflow, const char *search_path,
					Jsonb *document);
static void save_in_place(FlowWorkflow *workflow, const FlowSpec *spec,
						  bool changed);
static bool save_limit(FlowWorkflow *workflow, const FlowSpec *spec);
static bool intervals_differ(const FlowValue *a, const FlowValue *b);
static bool texts_differ(const char *a, const char *b);
static Jsonb *compose_document(const FlowWorkflow *workflow,
							   const FlowStoredDefinition *stored);
static void push_member(JsonbParseState **state, const char *key,
						const char *value);
static void push_number(JsonbParseState **state, FlowArgument argument,
						int32 number);
static void push_interval(JsonbParseState **state, FlowArgument argument,
						  const FlowValue *value);
static void push_stored(JsonbParseState **state,
						const FlowStoredDefinition *stored, const char *key);
static void settle_runs(const FlowWorkflow *workflow, int32 definition_id,
						void (*cancel) (int64 run_id));
static void drop_version(FlowWorkflow *workflow, int32 definition_id);
static void check_privilege(const char *privilege);

int32
FlowWorkflowDefine(FlowSpec *spec)
{
	FlowProblems problems;
	FlowWorkflow workflow;
	FlowParseScope scope;
	Jsonb	   *document;
	bool		existed;

	FlowAccessRequireCreate();
	fill_search_path(spec);
	FlowProblemsInit(&problems, false);
	problems.names = spec->names;
	FlowCheckSpec(spec, &problems);

	existed = lock_or_insert(FlowSpecText(spec, FLOW_ARG_NAME), &workflow);
	FlowAccessRequireMember(&workflow);
	FlowAccessRequireOwner(workflow.owner);
	scope.role = workflow.owner;
	scope.search_path = FlowSpecText(spec, FLOW_ARG_SEARCH_PATH);
	FlowParseCheck(spec, &scope, &problems);
	FlowLimitedResolve(spec, &scope, &problems);

	document = FlowSpecToDocument(spec);
	if (existed && is_same(&workflow, scope.search_path, document))
		save_in_place(&workflow, spec, false);
	else
	{
		FlowStoredDefinition stored = {
			.id = existed ? 0 : workflow.definition_id,
			.workflow_id = workflow.id,
			.version = existed ? FlowDefinitionLastVersion(workflow.id) + 1 : 1,
			.search_path = unconstify(char *, scope.search_path),
			.document = document
		};

		FlowDefinitionInsert(&stored);
		workflow.definition_id = stored.id;
		workflow.version = stored.version;
		save_in_place(&workflow, spec, true);
	}
	return workflow.version;
}

static void
fill_search_path(FlowSpec *spec)
{
	FlowValue  *value = &spec->values[FLOW_ARG_SEARCH_PATH];

	if (!value->isset)
		FlowValueFromText(FLOW_FIELD_TEXT, namespace_search_path, value);
}

/*
 * Locks the workflow of that name, or makes it; true if it was there.  When
 * another transaction makes it at the same time, the insert waits for its end
 * and the lock then finds it.
 */
static bool
lock_or_insert(const char *name, FlowWorkflow *workflow)
{
	for (int i = 0; i < MAX_LOCK_TRIES; i++)
	{
		if (FlowWorkflowLock(name, workflow))
		{
			if (workflow->home != FlowInstallRequire()->home)
				raise_held(name, workflow->owner_name);
			return true;
		}
		FlowAccessRequireOwner(GetUserId());
		memset(workflow, 0, sizeof(*workflow));
		workflow->name = pstrdup(name);
		workflow->owner = GetUserId();
		workflow->owner_name = GetUserNameFromId(workflow->owner, false);
		workflow->version = 1;
		workflow->enabled = true;
		workflow->notify = "";
		if (FlowWorkflowInsert(workflow))
			return false;
	}
	/* at REPEATABLE READ the other one's row stays invisible */
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("workflow \"%s\" was defined by another transaction meanwhile",
					name),
			 errdetail("At this isolation level the transaction cannot see it."),
			 errhint("Try the transaction again.")));
	return false;
}

/* One that came from another home; the owner is known by name only. */
static void
raise_held(const char *name, const char *owner)
{
	bool		gone = !OidIsValid(get_role_oid(owner, true));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("workflow \"%s\" was restored from another database", name),
			 errdetail(gone ? "It is held, and its owner \"%s\" does not exist here." :
					   "It is held, with its runs; it belongs to role \"%s\".", owner),
			 errhint("%sRelease it with SELECT flow_release_all(), or give its name free with SELECT flow_drop(%s, force => true).",
					 gone ? "Create that role first.  " : "",
					 quote_literal_cstr(name))));
}

static bool
is_same(const FlowWorkflow *workflow, const char *search_path, Jsonb *document)
{
	FlowStoredDefinition stored;

	if (!FlowDefinitionLoad(workflow->definition_id, &stored))
		elog(ERROR, "definition %d does not exist", workflow->definition_id);
	return strcmp(stored.search_path, search_path) == 0 &&
		compareJsonbContainers(&stored.document->root, &document->root) == 0;
}

/*
 * Description, notify, what is kept and how many run are no part of a version.
 * The scheduler is told when it has something else to keep, or to let in.
 */
static void
save_in_place(FlowWorkflow *workflow, const FlowSpec *spec, bool changed)
{
	char	   *description = FlowSpecText(spec, FLOW_ARG_DESCRIPTION);
	char	   *notify = FlowSpecText(spec, FLOW_ARG_NOTIFY);
	const FlowValue *keep = &spec->values[FLOW_ARG_KEEP];
	const FlowValue *keep_data = &spec->values[FLOW_ARG_KEEP_DATA];
	bool		keeps = intervals_differ(keep, &workflow->keep) ||
	intervals_differ(keep_data, &workflow->keep_data);
	bool		admits = save_limit(workflow, spec);

	if (!changed && !keeps && !admits &&
		!texts_differ(description, workflow->description) &&
		!texts_differ(notify, workflow->notify))
		return;
	workflow->description = description;
	workflow->notify = notify;
	workflow->keep = *keep;
	workflow->keep_data = *keep_data;
	FlowWorkflowSave(workflow);
	if (keeps)
		FlowWakeNoteSweep();
	if (admits)
		FlowWakeNoteAdmit();
}

/* Returns whether it is another one. */
static bool
save_limit(FlowWorkflow *workflow, const FlowSpec *spec)
{
	const FlowValue *max_runs = &spec->values[FLOW_ARG_MAX_RUNS];
	int32		most = max_runs->isset ? max_runs->u.integer : 0;
	char	   *by = FlowSpecText(spec, FLOW_ARG_MAX_RUNS_BY);
	bool		differs = most != workflow->max_runs ||
	texts_differ(by, workflow->max_runs_by);

	workflow->max_runs = most;
	workflow->max_runs_by = by;
	return differs;
}

static bool
intervals_differ(const FlowValue *a, const FlowValue *b)
{
	if (!a->isset || !b->isset)
		return a->isset != b->isset;
	return a->u.interval.time != b->u.interval.time ||
		a->u.interval.day != b->u.interval.day ||
		a->u.interval.month != b->u.interval.month;
}

static bool
texts_differ(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

Jsonb *
FlowWorkflowDocument(const char *name, int32 version)
{
	FlowWorkflow workflow;
	FlowStoredDefinition stored;
	int32		id;

	FlowAccessRequireRead();
	FlowWorkflowRequire(name, &workflow);
	id = version == 0 ? workflow.definition_id :
		FlowDefinitionOfVersion(workflow.id, version);
	if (id == 0 || !FlowDefinitionLoad(id, &stored))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of workflow \"%s\" does not exist",
						version, name),
				 errdetail("The newest version is %d.", workflow.version),
				 errhint("Look at flow.workflow for the versions.")));
	return compose_document(&workflow, &stored);
}

/* One that the caller may not see does not exist for it. */
void
FlowWorkflowRequire(const char *name, FlowWorkflow *workflow)
{
	if (!FlowWorkflowLoad(name, workflow))
		require_not_held(name);
	else if (FlowAccessMaySee(workflow))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("workflow \"%s\" does not exist", name),
			 errdetail("There is no such workflow, or you have no privilege on it."),
			 errhint("Look at flow.workflow for the workflows you may see, or use flow_define().")));
}

/* Only its owner is told of a workflow that came from another home. */
static void
require_not_held(const char *name)
{
	char	   *owner = FlowReleaseHeldOwner(name);
	Oid			role;

	if (owner == NULL)
		return;
	role = get_role_oid(owner, true);
	if (superuser() || (OidIsValid(role) && FlowAccessIsMember(role)))
		raise_held(name, owner);
}

static Jsonb *
compose_document(const FlowWorkflow *workflow,
				 const FlowStoredDefinition *stored)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_member(&state, "name", workflow->name);
	if (workflow->description)
		push_member(&state, "description", workflow->description);
	if (strcmp(workflow->notify, FlowArgumentFields[FLOW_ARG_NOTIFY].initial) != 0)
		push_member(&state, "notify", workflow->notify);
	push_interval(&state, FLOW_ARG_KEEP, &workflow->keep);
	push_interval(&state, FLOW_ARG_KEEP_DATA, &workflow->keep_data);
	if (workflow->max_runs > 0)
		push_number(&state, FLOW_ARG_MAX_RUNS, workflow->max_runs);
	if (workflow->max_runs_by)
		push_member(&state, "max_runs_by", workflow->max_runs_by);
	push_member(&state, "search_path", stored->search_path);
	push_stored(&state, stored, "timeout");
	push_stored(&state, stored, "resume_after");
	push_stored(&state, stored, "max_parallel");
	push_stored(&state, stored, "steps");
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* What is part of the version, if it is given. */
static void
push_stored(JsonbParseState **state, const FlowStoredDefinition *stored,
			const char *key)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&stored->document->root,
													 key, strlen(key), &buffer);

	if (value == NULL)
		return;
	FlowJsonPushKey(state, key);
	pushJsonbValue(state, WJB_VALUE, value);
}

static void
push_member(JsonbParseState **state, const char *key, const char *value)
{
	FlowJsonPushKey(state, key);
	FlowJsonPushText(state, WJB_VALUE, value);
}

static void
push_number(JsonbParseState **state, FlowArgument argument, int32 number)
{
	FlowValue	value = {true,.u.integer = number};

	FlowValuePush(state, &FlowArgumentFields[argument], &value);
}

static void
push_interval(JsonbParseState **state, FlowArgument argument,
			  const FlowValue *value)
{
	if (value->isset)
		FlowValuePush(state, &FlowArgumentFields[argument], value);
}

void
FlowWorkflowCheck(const char *name, FlowProblems *problems)
{
	FlowWorkflow workflow;
	FlowParseScope scope;
	FlowSpec   *spec;

	FlowAccessRequireRead();
	FlowWorkflowRequire(name, &workflow);
	spec = FlowSpecFromDocument(FlowWorkflowDocument(name, 0), problems);
	FlowCheckSpec(spec, problems);

	/* resolving reads catalogs as the owner: for its members only */
	scope.role = workflow.owner;
	scope.search_path = FlowSpecText(spec, FLOW_ARG_SEARCH_PATH);
	FlowParseCheck(spec, FlowAccessIsMember(workflow.owner) ? &scope : NULL,
				   problems);
	FlowLimitedResolve(spec, FlowAccessIsMember(workflow.owner) ? &scope : NULL,
					   problems);
}

void
FlowWorkflowCheckSpec(FlowSpec *spec, FlowProblems *problems)
{
	FlowParseScope scope;

	FlowAccessRequireRead();
	fill_search_path(spec);
	problems->names = spec->names;
	FlowCheckSpec(spec, problems);
	scope.role = GetUserId();
	scope.search_path = FlowSpecText(spec, FLOW_ARG_SEARCH_PATH);
	FlowParseCheck(spec, &scope, problems);
	FlowLimitedResolve(spec, &scope, problems);
}

bool
FlowWorkflowIsVisible(const char *name)
{
	FlowWorkflow workflow;

	return FlowWorkflowLoad(name, &workflow) && FlowAccessMaySee(&workflow);
}

bool
FlowWorkflowDrop(const char *name, int32 version, bool force,
				 void (*cancel) (int64 run_id))
{
	FlowWorkflow workflow;
	int32		definition_id = 0;

	FlowAccessRequireUse();
	if (FlowWorkflowLoad(name, &workflow) && !FlowAccessMaySee(&workflow))
		return false;
	if (!FlowWorkflowLock(name, &workflow))
		return false;
	if (workflow.home != FlowInstallRequire()->home)
		take_restored(&workflow, version);
	FlowAccessRequireMember(&workflow);
	if (version != 0)
	{
		definition_id = FlowDefinitionOfVersion(workflow.id, version);
		if (definition_id == 0)
			return false;
	}
	settle_runs(&workflow, definition_id, force ? cancel : NULL);
	if (definition_id == 0)
		FlowWorkflowMarkDropped(workflow.id);
	else
		drop_version(&workflow, definition_id);
	return true;
}

/*
 * Makes a workflow of another home one of this home, with its runs, just to be
 * dropped: they are cancelled then, or in the way of it.
 */
static void
take_restored(FlowWorkflow *workflow, int32 version)
{
	FlowReleaseScope scope = {
		.caller = GetUserId(),
		.workflow_id = workflow->id,
		.stand_in = FlowInstallRequire()->owner
	};
	FlowReleased done;

	if (version != 0)
		raise_held(workflow->name, workflow->owner_name);
	workflow->owner = FlowInstallLocalRole(workflow->home, workflow->owner,
										   workflow->owner_name);
	FlowAccessRequireMember(workflow);
	FlowReleaseRows(&scope, &done);
}

/* definition_id 0: the runs of all versions. */
static void
settle_runs(const FlowWorkflow *workflow, int32 definition_id,
			void (*cancel) (int64 run_id))
{
	int			n;
	int64	   *runs = FlowWorkflowUnfinished(workflow->id, definition_id, &n);

	if (n > 0 && cancel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg_plural("workflow \"%s\" has %d unfinished run",
							   "workflow \"%s\" has %d unfinished runs",
							   n, workflow->name, n),
				 errdetail("A run that is not finished needs its definition."),
				 errhint("Cancel them with flow_cancel(), or drop it with force => true.")));
	for (int i = 0; i < n; i++)
		cancel(runs[i]);
}

/* The newest version that is left becomes the newest; without any, all goes. */
static void
drop_version(FlowWorkflow *workflow, int32 definition_id)
{
	FlowDefinitionDrop(definition_id);
	if (definition_id != workflow->definition_id)
		return;
	if (FlowDefinitionNewest(workflow->id, &workflow->definition_id,
							 &workflow->version))
		FlowWorkflowSave(workflow);
	else
		FlowWorkflowMarkDropped(workflow->id);
}

bool
FlowWorkflowEnable(const char *name, bool enabled)
{
	FlowWorkflow workflow;

	FlowWorkflowLockAsMember(name, &workflow);
	return FlowWorkflowSetEnabled(workflow.id, enabled);
}

void
FlowWorkflowLockAsMember(const char *name, FlowWorkflow *workflow)
{
	FlowAccessRequireUse();
	FlowWorkflowRequire(name, workflow);
	FlowAccessRequireMember(workflow);
	if (!FlowWorkflowLock(name, workflow))
		FlowWorkflowRequire(name, workflow);
	FlowAccessRequireMember(workflow);
}

void
FlowWorkflowGrantTo(const char *name, Oid role, const char *privilege)
{
	FlowWorkflow workflow;

	check_privilege(privilege);
	FlowWorkflowLockAsMember(name, &workflow);
	FlowWorkflowGrant(workflow.id, role, privilege);
}

void
FlowWorkflowRevokeFrom(const char *name, Oid role, const char *privilege)
{
	FlowWorkflow workflow;

	if (privilege)
		check_privilege(privilege);
	FlowWorkflowLockAsMember(name, &workflow);
	FlowWorkflowRevoke(workflow.id, role, privilege);
}

static void
check_privilege(const char *privilege)
{
	FlowSuggestion suggestion;
	StringInfoData list;

	FlowSuggestionInit(&suggestion, privilege);
	initStringInfo(&list);
	for (int i = 0; i < lengthof(privileges); i++)
	{
		if (strcmp(privilege, privileges[i]) == 0)
			return;
		FlowSuggestionAdd(&suggestion, privileges[i]);
		appendStringInfo(&list, "%s\"%s\"", i ? ", " : "", privileges[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown privilege \"%s\"", privilege),
			 errdetail("Privileges on a workflow are %s.", list.data),
			 suggestion.best ?
			 errhint("Perhaps you meant \"%s\".", suggestion.best) :
			 errhint("Members of the owner's role have all of them.")));
}
