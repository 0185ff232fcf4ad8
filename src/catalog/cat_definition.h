/*-------------------------------------------------------------------------
 * cat_definition.h
 *	  The versions of a workflow: rows of flow_internal.definition.
 *
 * Every function needs a transaction; what is read is allocated in the current
 * memory context.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_CAT_DEFINITION_H
#define FLOW_CAT_DEFINITION_H

#include "utils/jsonb.h"

/* One version */
typedef struct FlowStoredDefinition
{
	int32		id;
	int32		workflow_id;
	char	   *workflow;		/* name */
	int32		version;
	char	   *search_path;
	Jsonb	   *document;
} FlowStoredDefinition;

/* Inserts a version; its id is drawn if it is 0. */
extern void FlowDefinitionInsert(FlowStoredDefinition *definition);

/* Any definition by its id, dropped ones too; false if there is none. */
extern bool FlowDefinitionLoad(int32 id, FlowStoredDefinition *out);

/* The id of a version that has not been dropped, or 0. */
extern int32 FlowDefinitionOfVersion(int32 workflow_id, int32 version);

/* The highest version there is or was. */
extern int32 FlowDefinitionLastVersion(int32 workflow_id);

/* The newest version that has not been dropped; false if there is none. */
extern bool FlowDefinitionNewest(int32 workflow_id, int32 *id, int32 *version);

/* Marks it as dropped. */
extern void FlowDefinitionDrop(int32 id);

#endif							/* FLOW_CAT_DEFINITION_H */
