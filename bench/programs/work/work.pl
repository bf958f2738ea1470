# A script's day in Perl: words counted in hashes, text rewritten, nested records cloned, sorted and joined.
# perl work.pl ROUNDS
use strict;
use warnings;
use Storable qw(dclone);

my $seed = 42;
sub random { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; $seed % $_[0] }

sub words {
    my $text = join ' ', map { ('w' . random(4000)) x (1 + random(4)) } 1 .. 60_000;
    my %count;
    $count{$1}++ while $text =~ /(w\d+)/g;
    $text =~ s/w(\d+) w(\d+)/<$2|$1>/g;
    length($text) + keys %count;
}

sub records {
    my @list = map { { id => $_, name => 'item ' . random(9999), tags => [ map { "t$_" } 0 .. $_ % 5 ], note => 'n' x random(200) } } 1 .. 20_000;
    my $again = dclone(\@list);
    my %groups;
    push @{ $groups{ $_->{name} } }, $_ for @$again;
    my @sorted = sort { @{ $groups{$b} } <=> @{ $groups{$a} } || $a cmp $b } keys %groups;
    join ',', @sorted[ 0 .. 2 ];
}

sub grown {
    my ($text, @lines) = ('');
    for my $i (1 .. 60_000) {
        $text .= "line $i;";
        push @lines, $text =~ /(.{0,80})$/ ? reverse $1 : '';
        splice @lines, random(scalar @lines), 1 if @lines > 3000;
    }
    length(join "\n", @lines);
}

print join(' ', words(), records(), grown()), "\n" for 1 .. $ARGV[0];
