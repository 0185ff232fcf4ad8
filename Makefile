# flow: a workflow engine inside PostgreSQL
#
# `make help` says what can be made.  The list of objects below is the table
# of contents of src/.

# Scripts ask make for variables: their answers must stay free of messages
MAKEFLAGS += --no-print-directory

MODULE_big = flow
EXTENSION = flow
EXTVERSION = 0.1.0
PGFILEDESC = "flow - workflows inside PostgreSQL"

OBJS = \
	src/flow.o \
	src/guc.o

# base: building blocks that know nothing about workflows
OBJS += \
	src/base/guard.o \
	src/base/held.o \
	src/base/identity.o \
	src/base/install.o \
	src/base/json.o \
	src/base/look.o \
	src/base/privileges.o \
	src/base/spi.o \
	src/base/table.o \
	src/base/target.o

# shmem: what the processes share
OBJS += \
	src/shmem/aside.o \
	src/shmem/average.o \
	src/shmem/database.o \
	src/shmem/facts.o \
	src/shmem/gate.o \
	src/shmem/lane.o \
	src/shmem/overdue.o \
	src/shmem/parcel.o \
	src/shmem/queue.o \
	src/shmem/recorder.o \
	src/shmem/reload.o \
	src/shmem/ring.o \
	src/shmem/share.o \
	src/shmem/shmem.o \
	src/shmem/slot.o \
	src/shmem/testpoint.o \
	src/shmem/testpointfuncs.o \
	src/shmem/waiters.o \
	src/shmem/wake.o

# catalog: rows and structs; all SQL on the extension's tables
OBJS += \
	src/catalog/cat_child.o \
	src/catalog/cat_command.o \
	src/catalog/cat_crash.o \
	src/catalog/cat_definition.o \
	src/catalog/cat_event.o \
	src/catalog/cat_item.o \
	src/catalog/cat_key.o \
	src/catalog/cat_limit.o \
	src/catalog/cat_live.o \
	src/catalog/cat_look.o \
	src/catalog/cat_outcome.o \
	src/catalog/cat_place.o \
	src/catalog/cat_prune.o \
	src/catalog/cat_release.o \
	src/catalog/cat_round.o \
	src/catalog/cat_run.o \
	src/catalog/cat_schedule.o \
	src/catalog/cat_sweep.o \
	src/catalog/cat_task.o \
	src/catalog/cat_total.o \
	src/catalog/cat_waiting.o \
	src/catalog/cat_workflow.o \
	src/catalog/passage.o \
	src/catalog/stepkey.o

# define: what the user wrote, as a checked and compiled graph
OBJS += \
	src/define/access.o \
	src/define/action.o \
	src/define/beside.o \
	src/define/check.o \
	src/define/definefuncs.o \
	src/define/document.o \
	src/define/events.o \
	src/define/graph.o \
	src/define/graphfuncs.o \
	src/define/item.o \
	src/define/javascript.o \
	src/define/limited.o \
	src/define/limitfuncs.o \
	src/define/names.o \
	src/define/options.o \
	src/define/owner.o \
	src/define/parse.o \
	src/define/part.o \
	src/define/plan.o \
	src/define/problem.o \
	src/define/reference.o \
	src/define/source.o \
	src/define/workflow.o

# engine: what happens to a run, in whichever backend is doing it
OBJS += \
	src/engine/await.o \
	src/engine/batch.o \
	src/engine/cancelrun.o \
	src/engine/changes.o \
	src/engine/claim.o \
	src/engine/command.o \
	src/engine/context.o \
	src/engine/control.o \
	src/engine/deadline.o \
	src/engine/decision.o \
	src/engine/drain.o \
	src/engine/emission.o \
	src/engine/execute.o \
	src/engine/finish.o \
	src/engine/flush.o \
	src/engine/gather.o \
	src/engine/hook.o \
	src/engine/isolated.o \
	src/engine/kinds/approval.o \
	src/engine/kinds/choice.o \
	src/engine/kinds/command.o \
	src/engine/kinds/delay.o \
	src/engine/kinds/kind.o \
	src/engine/kinds/sql.o \
	src/engine/kinds/subflow.o \
	src/engine/kinds/wait.o \
	src/engine/limit.o \
	src/engine/map.o \
	src/engine/override.o \
	src/engine/overtaken.o \
	src/engine/park.o \
	src/engine/ready.o \
	src/engine/redo.o \
	src/engine/release.o \
	src/engine/rerun.o \
	src/engine/result.o \
	src/engine/retention.o \
	src/engine/retentionfuncs.o \
	src/engine/retry.o \
	src/engine/retryrun.o \
	src/engine/round.o \
	src/engine/run.o \
	src/engine/runfuncs.o \
	src/engine/session.o \
	src/engine/settle.o \
	src/engine/signal.o \
	src/engine/signalfuncs.o \
	src/engine/start.o \
	src/engine/statement.o \
	src/engine/stepfuncs.o \
	src/engine/subflow.o \
	src/engine/suspect.o \
	src/engine/take.o \
	src/engine/total.o \
	src/engine/undo.o \
	src/engine/waiting.o \
	src/engine/watch.o \
	src/engine/whole.o \
	src/engine/wind.o

# worker: which process does it, and when it wakes
OBJS += \
	src/worker/admit.o \
	src/worker/emit.o \
	src/worker/launcher.o \
	src/worker/letgo.o \
	src/worker/orphan.o \
	src/worker/places.o \
	src/worker/prune.o \
	src/worker/refill.o \
	src/worker/repair.o \
	src/worker/scheduler.o \
	src/worker/staff.o \
	src/worker/timer.o \
	src/worker/worker.o \
	src/worker/workerfuncs.o

# report: looking at it
OBJS += \
	src/report/cron.o \
	src/report/cronspec.o \
	src/report/homefuncs.o \
	src/report/reportfuncs.o \
	src/report/schedule.o \
	src/report/schedulefuncs.o

# What CREATE EXTENSION runs, in this order
SQL_FRAGMENTS = \
	sql/tables.sql.in \
	sql/worker.sql.in \
	sql/look.sql.in \
	sql/define.sql.in \
	sql/run.sql.in \
	sql/signal.sql.in \
	sql/schedule.sql.in \
	sql/final.sql.in

DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

# test/sql, test/specs and test/t; inputs there, outputs in expected/
REGRESS = \
	access \
	attacks \
	command \
	control \
	define \
	define_errors \
	drain \
	graph \
	hooks \
	isolated \
	joins \
	limits \
	maps \
	on_result \
	override \
	owner \
	reference \
	retention \
	schedule_errors \
	session \
	source \
	start \
	subflow \
	total \
	transaction \
	undo \
	views \
	views_live \
	waiting

ISOLATION = \
	any_twice \
	cancel_complete \
	cancel_running \
	decide_twice \
	drop_define \
	fail_running \
	foreign_run \
	pause_complete \
	release_twice \
	retry_running \
	set_owner \
	signal_timeout \
	start_rollback \
	start_same_key

TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

REGRESS_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION) \
	--temp-config=test/flow.conf --temp-instance=tmp_check
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION) \
	--temp-config=test/flow.conf --temp-instance=tmp_check_iso

WARNINGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers
# make WERROR=-Werror: warnings are errors, as in `make test`
WERROR =

# `override`, so that make PG_CFLAGS=-DUSE_ASSERT_CHECKING adds to this
override PG_CPPFLAGS += -Isrc
override PG_CFLAGS += $(WARNINGS) $(WERROR) -MMD -MP
# No bitcode: building needs gcc alone
override with_llvm = no

EXTRA_CLEAN = $(OBJS:.o=.d) sql/$(EXTENSION)--*.sql tmp_check tmp_check_iso \
	results regression.diffs regression.out output_iso log bench/*.o bench/*.so \
	$(EXTENSION)-*.zip

# The server to build against: PostgreSQL 15 if it is in its Debian place,
# else the first in the path.
PG_CONFIG ?= $(firstword $(wildcard /usr/lib/postgresql/15/bin/pg_config) pg_config)
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
PROJECT_TARGETS = demo test races check-quick storm bench style indent lint

ifneq ($(wildcard $(PGXS)),)

include $(PGXS)
-include $(OBJS:.o=.d)

$(DATA_built): $(SQL_FRAGMENTS) Makefile
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	cat $(SQL_FRAGMENTS); } > $@

# What needs more than a compiler asks for it first.
test races demo bench check-quick storm style indent lint: deps

# Everything that is tested, on servers of its own (test/check/suites)
test: all
	@test/check/suites all

# Processes that meet at the wrong moment, made to (test/races)
races: all
	@test/check/suites races

# The SQL regression tests only; of the build, only what is wrong is shown
check-quick:
	@$(MAKE) -s all
	@test/check/suites regress

# The same as in `make test`, with so many kills that it takes minutes
KILLS = 200

storm:
	@$(MAKE) -s all
	@FLOW_STORM_KILLS=$(KILLS) test/check/suites tap 037_storm

style: all
	@test/check/style

demo:
	@$(MAKE) -s all
	@test/demo/run

bench: all
	@bench/run

indent:
	@test/check/indent --write

lint:
	@$(MAKE) --no-print-directory clean
	@$(MAKE) --no-print-directory WERROR=-Werror all
	@test/check/style

dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ \
		-o $(EXTENSION)-$(EXTVERSION).zip HEAD

else

# There is nothing to build with yet: install it, then start over.
.PHONY: all install installcheck clean
all install installcheck $(PROJECT_TARGETS): deps
	@test -z "$(FLOW_AGAIN)" || { echo "make: no PGXS found by $(PG_CONFIG)" >&2; exit 1; }
	@$(MAKE) --no-print-directory FLOW_AGAIN=1 $@
clean:

endif

# Lets scripts ask for a variable: make -s print-REGRESS
print-%:
	@echo '$($*)'

# Debian packages that are missing, if any
deps:
	@test/check/deps

help:
	@echo 'make              build'
	@echo 'make install      install into the server of $$(PG_CONFIG)'
	@echo 'make demo         order and ETL workflows on a throwaway server'
	@echo 'make test         every test suite and style guard, on throwaway servers'
	@echo 'make races        the tests on named points of the code only'
	@echo 'make check-quick  the SQL regression tests only'
	@echo 'make storm        200 kills of all kinds of processes under load (KILLS=n for n)'
	@echo 'make bench        throughput and latency, with the floor they are measured against'
	@echo 'make style        the rules a script can check'
	@echo 'make indent       format the sources with pg_bsd_indent'
	@echo 'make lint         build from scratch with warnings as errors, then style'
	@echo 'make clean        remove what make, the tests and make dist leave here'
	@echo 'make deps         install missing Debian packages'
	@echo 'make dist         a zip of the committed tree'
	@echo 'make installcheck regression, isolation and TAP tests (not as root, after install)'

.PHONY: deps help dist $(PROJECT_TARGETS)
