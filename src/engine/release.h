/*-------------------------------------------------------------------------
 * release.h
 *	  Let go on what is held.
 *-------------------------------------------------------------------------
 */
#ifndef FLOW_RELEASE_H
#define FLOW_RELEASE_H

/*
 * Releases everything held that the current user may act for, in this
 * transaction; returns the number of unfinished runs that go on.  Needs a
 * transaction and SPI; raises without the right to use flow here.
 */
extern int64 FlowReleaseAll(void);

#endif							/* FLOW_RELEASE_H */
