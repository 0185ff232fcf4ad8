# Runs that are retried, rerun or resumed when some of their steps have ended
# already: those are left as they are, and decided no second time.
use strict;
use warnings;
use FlowTest;
use Test::More;

my $node = flow_node('again', 'flow.workers' => 3);
my @shop = (extra_params => [ '-U', 'shop' ]);

flow_owner($node, 'shop');
flow_audit($node);

sub sql
{
	return $node->safe_psql('postgres', "SET client_min_messages = error; $_[0]", @shop);
}

sub define
{
	my ($name, $options, @steps) = @_;

	return sql("SELECT flow_define('$name', ARRAY[" . join(',', @steps) . "]$options)");
}

# A step that fails as long as its name is in the table
sub broken
{
	my ($name, $options) = @_;

	return audited($name, $options, "SELECT 1 / (SELECT 1 - count(*) FROM broken WHERE step = '$name')");
}

sub ends
{
	my ($run) = @_;

	wait_for($node, "(SELECT finished_at IS NOT NULL FROM flow.run WHERE id = $run)");
	return value($node, "SELECT status FROM flow.run WHERE id = $run") . ': '
	  . value($node, qq{SELECT string_agg(format('%s %s', name, status) || coalesce(' x' || nullif((SELECT count(*) FROM audit a WHERE a.run_id = s.run_id AND a.step = s.name), 0), ''), ', ' ORDER BY step_no)
		FROM flow.step s WHERE run_id = $run});
}

sub attempts
{
	return value($node, "SELECT string_agg(step || attempt, ' ' ORDER BY step, attempt) FROM flow.attempt WHERE run_id = $_[0]");
}

sql(q{CREATE TABLE broken (step text); INSERT INTO broken VALUES ('a'), ('z')});

# Below a step that always runs
define('below', '', broken('a', q{on_error => 'isolate'}), audited('y', q{after => '{a}', needs => 'always'}), audited('d', q{after => '{y}'}));
my $run = sql(q{SELECT flow_start('below')});
is(ends($run), 'failed: a failed, y completed x1, d completed x1', 'a step below one that always runs completes');
sql(q{DELETE FROM broken WHERE step = 'a'});
sql("SELECT flow_retry($run)");
is(ends($run), 'completed: a completed x1, y completed x2, d completed x1', '... and is not run again by a retry');

# Attempts of steps that wait when the run is retried
sql(q{INSERT INTO broken VALUES ('a')});
define('count', '', broken('a', q{on_error => 'isolate'}), broken('z', q{after => '{a}', needs => 'always'}));
$run = sql(q{SELECT flow_start('count')});
is(ends($run), 'failed: a failed, z failed', 'two steps fail, one after the other');
sql(q{DELETE FROM broken WHERE step = 'a'});
sql("SELECT flow_retry($run)");
is(ends($run), 'failed: a completed x1, z failed', '... the second once more');
is(attempts($run), 'a1 z1 z2', '... in a further attempt');

# Rerun what some step has overtaken
define('overtaken', '', audited('slow', '', 'SELECT pg_sleep(0.5)'), audited('quick'), audited('f', q{after => '{slow,quick}', needs => 'first'}), audited('x'), audited('y', q{after => '{f,x}'}));
$run = sql(q{SELECT flow_start('overtaken')});
is(ends($run), 'completed: slow cancelled, quick completed x1, f completed x1, x completed x1, y completed x1', 'a step is overtaken');
is(ends(sql("SELECT flow_rerun($run, 'x')")), 'completed: slow cancelled, quick completed, f completed, x completed x1, y completed x1', '... a rerun takes that over');

# A step at another isolation level that is overtaken while it runs
define('isolated', '', audited('slow', q{isolation => 'serializable'}, 'SELECT pg_sleep(1)'), audited('quick', '', 'SELECT pg_sleep(0.3)'),
	audited('f', q{after => '{slow,quick}', needs => 'first'}), audited('late', q{after => '{f}'}, 'SELECT pg_sleep(2)'));
$run = sql(q{SELECT flow_start('isolated')});
is(ends($run), 'completed: slow cancelled, quick completed x1, f completed x1, late completed x1', 'what an overtaken step did is not kept');

# A join that its batch makes ready twice
sql('CREATE SEQUENCE executions');
define('twice', '', audited('a'), audited('p', q{after => '{a}'}), audited('y', q{after => '{a,p}', needs => 'any'}, q{SELECT nextval('executions')}));
sql(q{BEGIN; SELECT flow_drain(flow_start('twice')); COMMIT});
is(value($node, 'SELECT last_value FROM executions'), '1', 'a join of any is executed once');

# resume_after
sql(q{INSERT INTO broken VALUES ('a')});
define('resumes', q{, resume_after => '1 s'}, broken('a', q{on_error => 'pause'}));
is(value($node, q{SELECT flow_definition('resumes')->>'resume_after'}), 'PT1S', 'resume_after is part of the definition');
$run = sql(q{SELECT flow_start('resumes')});
wait_for($node, "(SELECT status = 'paused' FROM flow.run WHERE id = $run)", 'a step pauses its run');
sql(q{DELETE FROM broken WHERE step = 'a'});
is(ends($run), 'completed: a completed x1', '... which goes on by itself');

$node->safe_psql('postgres', 'ALTER SYSTEM SET flow.workers = 0');
$node->reload;
sql(q{INSERT INTO broken VALUES ('a')});
$run = sql(q{SELECT flow_start('resumes')});
sql("SELECT flow_drain($run, skip_time => true)");
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'paused', 'a drain that skips time does not resume a run');
sql(q{DELETE FROM broken WHERE step = 'a'});
wait_for($node, "(SELECT max(due_at) < clock_timestamp() OR count(due_at) = 0 FROM flow_internal.task WHERE run_id = $run)");
sql("SELECT flow_drain($run)");
is(value($node, "SELECT status FROM flow.run WHERE id = $run"), 'completed', '... one after the time does');
$node->stop;
done_testing();
