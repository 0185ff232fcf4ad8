# Random graphs with random joins, events, conditions, failures, error modes and
# items, run by real workers and by flow_drain, compared with a small model of what
# must become of every step and of the run.
use strict;
use warnings;
use FlowTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $cases = $ENV{FLOW_MODEL_CASES} // 1500;
my $seed = $ENV{FLOW_MODEL_SEED} // time;
my @needs = qw(all all any some always first);
my @modes = qw(fail isolate continue skip pause);

srand($seed);
note("seed $seed, $cases cases");

sub one_of
{
	return $_[ int(rand(@_)) ];
}

# A workflow: steps in topological order, each with what it does
sub random_steps
{
	my ($fails, $first) = @_;
	my @steps;

	foreach my $i (0 .. 2 + int(rand(7)))
	{
		my %step = (name => "s$i", does => one_of(qw(ok ok ok ok fail condition)), after => [],
			needs => 'all', on_error => 'fail', emits => {});

		# a run that is paused stands still, which a failure elsewhere may cut short
		$step{on_error} = one_of($fails ? @modes[ 0 .. 3 ] : @modes[ 1 .. 4 ]) if $step{does} eq 'fail';
		$step{items} = int(rand(6)) if rand() < 0.25;
		$step{items} = 1 + int(rand(5)) if defined $step{items} && $step{does} eq 'fail';
		$step{bad} = 1 + int(rand($step{items})) if $step{items} && ($step{does} eq 'fail' || rand() < 0.3);
		delete @step{qw(items bad)} if $step{on_error} eq 'pause';
		$step{emits} = { map { rand() < 0.5 ? ($_ => 1) : () } qw(x y) } if $step{does} eq 'ok';
		$step{emits} = {} if defined $step{items} && $step{items} - ($step{bad} ? 1 : 0) < 1;
		foreach my $from (grep { rand() < 2 / ($i + 1) } 0 .. $i - 1)
		{
			push @{ $step{after} }, [ $from, one_of(undef, undef, undef, qw(x y failed completed)) ];
		}
		$step{needs} = one_of($first ? @needs : @needs[ 0 .. 4 ]) if @{ $step{after} };
		push @steps, \%step;
	}
	return \@steps;
}

sub definition
{
	my ($name, $steps) = @_;
	my @calls;

	foreach my $step (@$steps)
	{
		my $item = defined $step->{items} ? q{ || '/' || item_no} : '';
		my $sql = "INSERT INTO audit (run_id, step) VALUES (flow.run_id, '$step->{name}'$item)";
		my @after = map { '"s' . $_->[0] . ($_->[1] ? ":$_->[1]" : '') . '"' } @{ $step->{after} };
		my $options = '';

		$sql .= "; SELECT flow_emit('$_')" foreach sort keys %{ $step->{emits} };
		$sql .= $step->{on_error} eq 'pause' ? '; SELECT 1 / (flow.attempt - 1)' : '; SELECT 1 / 0' if $step->{does} eq 'fail' && !$step->{bad};
		$sql .= "; SELECT 1 / (item_no - $step->{bad})" if $step->{bad};
		$options .= ", for_each => 'SELECT n FROM generate_series(1, $step->{items}) n'" if defined $step->{items};
		$options .= ", on_item_error => 'collect'" if $step->{bad} && $step->{does} ne 'fail';
		$options .= ', max_parallel => ' . (1 + int(rand(3))) if defined $step->{items} && rand() < 0.4;
		$options .= ", after => '{" . join(',', @after) . "}'" if @after;
		$options .= ", needs => '$step->{needs}'" if $step->{needs} ne 'all';
		$options .= ", on_error => '$step->{on_error}'" if $step->{on_error} ne 'fail';
		$options .= q{, condition => 'flow.run_id < 0'} if $step->{does} eq 'condition';
		$options .= ', batch => false' if rand() < 0.2;
		push @calls, "flow_step('$step->{name}', \$\$ $sql \$\$, result => 'none'$options)";
	}
	return "SELECT flow_define('$name', ARRAY[" . join(',', @calls) . q{], resume_after => '1 us')};
}

# What a step counts as for one that depends on it: 1 completed, 0 skipped
sub counts
{
	my ($step, $status, $event, $handled) = @_;

	return ($status eq 'completed' || ($status eq 'failed' && !$handled && $step->{on_error} eq 'continue')) ? 1 : 0
	  if !$event;
	return $status eq $event ? 1 : 0 if $event eq 'completed' || $event eq 'failed';
	return $status eq 'completed' && $step->{emits}{$event} ? 1 : 0;
}

sub is_handled
{
	my ($steps, $i) = @_;

	return scalar grep { my $s = $_; grep { $_->[0] == $i && ($_->[1] // '') eq 'failed' } @{ $s->{after} } } @$steps;
}

# What the join of a step says, given how the others have ended
sub joined
{
	my ($steps, $i, $status) = @_;
	my $step = $steps->[$i];
	my @counts = map { counts($steps->[ $_->[0] ], $status->[ $_->[0] ], $_->[1], is_handled($steps, $_->[0])) } @{ $step->{after} };
	my $completed = grep { $_ } @counts;

	return 1 if $step->{needs} eq 'always';
	return $completed == @counts ? 1 : 0 if $step->{needs} eq 'all';
	return $completed > 0 ? 1 : 0;
}

# What becomes of a step that runs
sub outcome
{
	my ($steps, $i) = @_;
	my $step = $steps->[$i];

	return 'skipped' if $step->{does} eq 'condition';
	return 'completed' if $step->{does} eq 'ok';
	return 'skipped' if $step->{on_error} eq 'skip' && !is_handled($steps, $i);

	# ... which is tried again when its run is resumed, and then does well
	return 'completed' if $step->{on_error} eq 'pause' && !is_handled($steps, $i);
	return 'failed';
}

# Where nothing depends on the order in which steps end, all of it is known
sub expected
{
	my ($steps) = @_;
	my @status;

	foreach my $i (0 .. $#$steps)
	{
		$status[$i] = joined($steps, $i, \@status) ? outcome($steps, $i) : 'skipped';
	}
	return @status;
}

sub fails_run
{
	my ($steps, $i, $status) = @_;

	return $status eq 'failed' && !is_handled($steps, $i) && $steps->[$i]{on_error} ne 'continue';
}

# What is wrong with how a run has ended, given each step's status
sub complaint
{
	my ($steps, $run, @status) = @_;
	my @failed = grep { fails_run($steps, $_, $status[$_]) } 0 .. $#$steps;
	my $stopped = grep { $steps->[$_]{on_error} eq 'fail' } @failed;
	my %below = map { $_ => 1 } @failed;

	return "run $run" if $run ne (@failed ? 'failed' : 'completed');
	foreach my $i (0 .. $#$steps)
	{
		my $step = $steps->[$i];
		my $right = joined($steps, $i, \@status) ? outcome($steps, $i) : 'skipped';
		my $overtaken = grep { my $s = $_; $s->{needs} eq 'first' && grep { $_->[0] == $i } @{ $s->{after} } } @$steps;

		$below{$i} = 1 if grep { $below{ $_->[0] } } @{ $step->{after} };
		next if $status[$i] eq $right;
		next if $status[$i] eq 'cancelled' && $step->{needs} ne 'always' && $stopped;
		next if $status[$i] eq 'cancelled' && $overtaken;
		next if $status[$i] eq 'skipped' && $step->{needs} ne 'always' && $stopped && $below{$i};
		return "step $step->{name} is $status[$i], not $right";
	}
	return;
}

my $node = flow_node('model', 'flow.workers' => 3);
my (%steps, %kind);
my $script = '';

flow_owner($node, 'shop');
flow_audit($node);
foreach my $case (1 .. $cases)
{
	my $fails = $case % 3 == 0;
	my $first = $case % 5 == 0;

	$steps{"w$case"} = random_steps($fails, $first);
	$kind{"w$case"} = $fails || $first ? 'loose' : 'exact';
	$script .= definition("w$case", $steps{"w$case"}) . ";\n";
}
my @shop = (extra_params => [ '-U', 'shop' ]);
$node->safe_psql('postgres', "SET client_min_messages = error;\n$script", @shop);
$node->safe_psql('postgres', q{SELECT flow_start(name) FROM flow.workflow ORDER BY id; SELECT flow_start(name) FROM flow.workflow ORDER BY id DESC}, @shop);
wait_for_end($node, 'all runs ended');

# the same in a session, with the workers off
$node->safe_psql('postgres', q{ALTER SYSTEM SET flow.workers = 0}, on_error_stop => 1);
$node->reload;
$node->safe_psql('postgres', q{SELECT flow_start(name) FROM flow.workflow; SELECT flow_drain()}, @shop);
wait_for_end($node, 'drained runs ended');

my %seen = (exact => 0, loose => 0);
my @wrong;
foreach my $line (split /\n/, value($node, q{
	SELECT r.workflow, r.status, string_agg(s.status, ' ' ORDER BY step_no)
	FROM flow.run r JOIN flow.step s ON s.run_id = r.id GROUP BY r.id, r.workflow, r.status}))
{
	my ($workflow, $run, $statuses) = split /\|/, $line;
	my @status = split / /, $statuses;
	my $steps = $steps{$workflow};
	my $wrong = complaint($steps, $run, @status);

	$wrong = 'expected ' . join(' ', expected($steps)) if !$wrong && $kind{$workflow} eq 'exact' && "@status" ne join(' ', expected($steps));
	push @wrong, "$workflow: $wrong: $run: @status\n" . definition($workflow, $steps) if $wrong;
	$seen{ $kind{$workflow} }++;
}
is(scalar(@wrong), 0, "runs end as the model says (seed $seed)");
diag($_) foreach @wrong[ 0 .. ($#wrong < 2 ? $#wrong : 2) ];
cmp_ok($seen{exact}, '>', $cases, 'many of them exactly');
is($seen{exact} + $seen{loose}, 3 * $cases, 'none is missing');
cmp_ok(value($node, q{SELECT count(*) FROM flow.item WHERE status = 'completed'}), '>', $cases, 'there are items');
cmp_ok(value($node, q{SELECT count(DISTINCT run_id) FROM flow.attempt JOIN flow.step s USING (run_id) WHERE s.name = step AND s.status = 'completed' AND s.attempt = 2}), '>', $cases / 20, '... and runs that were paused');
is(value($node, q{SELECT count(*) FROM flow.step s
	WHERE s.items IS NULL AND (SELECT count(*) FROM audit a WHERE a.run_id = s.run_id AND a.step = s.name) <> CASE s.status WHEN 'completed' THEN 1 ELSE 0 END}),
	'0', 'the effect of every completed step is there once, and of no other');
is(value($node, 'SELECT count(*) FROM flow_internal.task'), '0', 'nothing is left behind');
is_consistent($node);
$node->stop;
done_testing();
