# Hashes, strings, regular expressions, sorting, serialisation and threads; prints checksums, sorted keys, never an address.
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;
use Compress::Zlib qw(compress uncompress);
use Digest::SHA qw(sha256_hex);
use Encode qw(encode decode);
use JSON::PP;
use List::Util qw(shuffle sum reduce);
use Math::BigInt;
use Storable qw(dclone freeze thaw);

my $rounds = shift || 1;
srand 42;
my $json = JSON::PP->new->canonical;

sub words { my ($n, $s) = @_; map { $s = ($s * 1103515245 + 12345) & 0x7fffffff; 'w' . $s % 5000 } 1 .. $n }

sub hashes {
    my %count;
    $count{$_}++ for words(200_000, shift);
    delete @count{ grep { $count{$_} % 3 == 0 } keys %count };
    my %deep;
    push @{ $deep{ substr $_, 0, 3 }{ length $_ } }, [ $_, $count{$_} ] for sort keys %count;
    sha256_hex($json->encode(dclone(\%deep)));
}

sub texts {
    my $text = join ' ', words(80_000, shift);
    my $n = () = $text =~ /\bw(\d)\d*\1\b/g;
    (my $swapped = $text) =~ s/w(\d+) w(\d+)/<$2|$1>/g;
    my $wide = decode('UTF-8', encode('UTF-8', $swapped . "\x{263a}" x 1000));
    my $grown = '';
    $grown .= $_ x 3 for split /</, $wide;
    $n . ':' . sha256_hex(encode('UTF-8', $grown));
}

sub sorted {
    my @list = sort { $a->{k} cmp $b->{k} || $a->{i} <=> $b->{i} } map { { k => $_, i => length } } words(40_000, shift);
    my $frozen = freeze(\@list);
    my $packed = compress(join "\n", map { "$_->{k} $_->{i}" } @{ thaw($frozen) });
    length($packed) . ':' . sha256_hex(uncompress($packed));
}

sub numbers { my $f = Math::BigInt->new(1); $f->bmul($_) for 1 .. 300; sha256_hex($f->bstr) }

for my $round (1 .. $rounds) {
    print join(' ', $round, hashes($round), texts($round), sorted($round), numbers()), "\n";

    # Each thread is a clone of all the above; what one of them enqueues, another frees.
    my ($in, $out) = (Thread::Queue->new, Thread::Queue->new);
    my @threads = map {
        threads->create(sub {
            while (defined(my $job = $in->dequeue)) {
                $out->enqueue([ $job->{id}, sha256_hex(join ',', words(2000, $job->{id})), $job->{text} x 3 ]);
            }
        });
    } 1 .. 4;
    $in->enqueue({ id => $_, text => "t$_" x ($_ % 50) }) for 1 .. 400;
    $in->end;
    $_->join for @threads;
    my @done = sort { $a->[0] <=> $b->[0] } map { $out->dequeue } 1 .. 400;
    print scalar(@done), ' ', sha256_hex($json->encode(\@done)), "\n";
}
