# The storm of kills again, most of them at a test point.
use strict;
use warnings;
use FlowTest;

$ENV{FLOW_STORM_POINTS} = 1;
do './test/t/037_storm.pl' or die $@ || $!;
