/*-------------------------------------------------------------------------
 * cat_definition.c
 *	  The versions of a workflow: rows and structs.
 *
 * A definition is inserted and never updated (dropped_at apart), by whoever
 * holds the row of its workflow.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/look.h"
#include "base/spi.h"
#include "catalog/cat_definition.h"
#include "catalog/cat_workflow.h"
#include "catalog/passage.h"

/* Columns of flow_internal.definition */
enum
{
	COLUMN_WORKFLOW_ID = 2,
	COLUMN_VERSION,
	COLUMN_SEARCH_PATH,
	COLUMN_DOCUMENT
};

static FlowTable definitions = {.name = "definition"};

static FlowStatement insert_definition = {
	.sql = "INSERT INTO flow_internal.definition"
	" (id, workflow_id, version, search_path, document, created_by)"
	" VALUES (coalesce(nullif($1, 0),"
	" nextval('flow_internal.definition_id_seq')), $2, $3, $4, $5, $6)"
	" RETURNING id",
	.expect = SPI_OK_INSERT_RETURNING,
	.nargs = 6,
	.argtypes = {INT4OID, INT4OID, INT4OID, TEXTOID, JSONBOID, TEXTOID}
};

static FlowStatement definition_of_version = {
	.sql = "SELECT id FROM flow_internal.definition"
	" WHERE workflow_id = $1 AND version = $2 AND dropped_at IS NULL",
	.expect = SPI_OK_SELECT,
	.nargs = 2,
	.argtypes = {INT4OID, INT4OID}
};

static FlowStatement last_version = {
	.sql = "SELECT max(version) FROM flow_internal.definition"
	" WHERE workflow_id = $1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT4OID}
};

static FlowStatement newest_definition = {
	.sql = "SELECT id, version FROM flow_internal.definition"
	" WHERE workflow_id = $1 AND dropped_at IS NULL"
	" ORDER BY version DESC LIMIT 1",
	.expect = SPI_OK_SELECT,
	.nargs = 1,
	.argtypes = {INT4OID}
};

static FlowStatement drop_definition = {
	.sql = "UPDATE flow_internal.definition SET dropped_at = now()"
	" WHERE id = $1 AND dropped_at IS NULL",
	.expect = SPI_OK_UPDATE,
	.nargs = 1,
	.argtypes = {INT4OID}
};

void
FlowDefinitionInsert(FlowStoredDefinition *definition)
{
	Datum		values[] = {
		Int32GetDatum(definition->id),
		Int32GetDatum(definition->workflow_id),
		Int32GetDatum(definition->version),
		CStringGetTextDatum(definition->search_path),
		JsonbPGetDatum(definition->document),
		CStringGetTextDatum(GetUserNameFromId(GetUserId(), false))
	};

	definition->id = FlowPassageFetchInt(&insert_definition, values);
}

bool
FlowDefinitionLoad(int32 id, FlowStoredDefinition *out)
{
	Datum		key[1] = {Int32GetDatum(id)};
	FlowLook	look;
	bool		found;
	bool		isnull;

	FlowLookBeginNow(&look, &definitions, NULL, false);
	found = FlowLookFind(&look, key);
	if (found)
	{
		out->id = id;
		out->workflow_id = FlowLookInt32(&look, COLUMN_WORKFLOW_ID);
		out->version = FlowLookInt32(&look, COLUMN_VERSION);
		out->search_path = FlowLookText(&look, COLUMN_SEARCH_PATH);
		out->document = DatumGetJsonbPCopy(FlowLookDatum(&look, COLUMN_DOCUMENT, &isnull));
	}
	FlowLookEndNow(&look);
	if (!found)
		return false;
	out->workflow = FlowWorkflowName(out->workflow_id);
	return out->workflow != NULL;
}

int32
FlowDefinitionOfVersion(int32 workflow_id, int32 version)
{
	Datum		values[] = {Int32GetDatum(workflow_id), Int32GetDatum(version)};

	return FlowPassageFetchInt(&definition_of_version, values);
}

int32
FlowDefinitionLastVersion(int32 workflow_id)
{
	Datum		values[] = {Int32GetDatum(workflow_id)};

	return FlowPassageFetchInt(&last_version, values);
}

bool
FlowDefinitionNewest(int32 workflow_id, int32 *id, int32 *version)
{
	Datum		values[] = {Int32GetDatum(workflow_id)};
	FlowPassage passage;
	bool		found;

	FlowPassageEnter(&passage);
	found = FlowStatementExecute(&newest_definition, values, NULL) > 0;
	if (found)
	{
		*id = FlowRowInt32(SPI_tuptable->vals[0], 1);
		*version = FlowRowInt32(SPI_tuptable->vals[0], 2);
	}
	SPI_freetuptable(SPI_tuptable);
	FlowPassageLeave(&passage);
	return found;
}

void
FlowDefinitionDrop(int32 id)
{
	Datum		values[] = {Int32GetDatum(id)};

	FlowPassageExecute(&drop_definition, values, NULL);
}
