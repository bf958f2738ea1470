#!/usr/bin/env bash
# Models: an interpreter of reference-counted scalars, cloned whole for each of its threads
# Packages: perl
# Quick: yes
. "$(dirname "$0")/lib.sh"
export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0

loads perl
sees_lib perl -e 'open F, "/proc/self/maps"; print <F>'

compare work perl "$here/input/work.pl" "$(amount 1 4)"

# Perl's own documentation, as text: Debian's package ships every module with its manual in it.
find /usr/share/perl/5* -name '*.pm' -size "$(amount +40k +0)" | sort >"$T/modules"
# shellcheck disable=SC2016 # perl's variables
compare manuals xargs -a "$T/modules" perl -MPod::Text -e '
	for (@ARGV) {
		my $p = Pod::Text->new(width => 72);
		$p->output_string(\my $text);
		$p->parse_file($_);
		print "== $_\n", $text // "";
	}'
