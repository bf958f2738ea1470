#!/usr/bin/env bash
# Models: a garbage-collected interpreter that mixes a heap of its own with a malloc for each longer string and array
# Packages: ruby3.1
. "$(dirname "$0")/lib.sh"

loads ruby3.1
sees_lib ruby3.1 -e 'print File.read("/proc/self/maps")'

compare work ruby3.1 --disable-gems "$here/input/work.rb" "$(amount 1 3)"

# Ruby's own standard library, read by its own documentation generator (a real program with a big tree of small objects).
document() {
	under "$who" ruby3.1 -W0 -r rdoc -e 'RDoc::RDoc.new.document(ARGV)' -- --quiet --format ri --output ri /usr/lib/ruby/3.1.0/{net,optparse,psych,irb,csv}*
	(cd ri && find . -type f ! -name created.rid ! -name cache.ri | LC_ALL=C sort | xargs sha256sum)
}
compare document document
