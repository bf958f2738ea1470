# A script's day in Ruby: words counted, records built, serialised and sorted, text rewritten, objects dropped for the
# collector to find.  ruby work.rb ROUNDS
require 'json'
require 'set'
require 'stringio'
require 'zlib'

$random = Random.new(42)

def words(count)
  text = Array.new(count) { "w#{$random.rand(4000)}" * ($random.rand(4) + 1) }.join(' ')
  counted = text.scan(/w\d+/).tally
  text.gsub(/w(\d+) w(\d+)/) { "<#{$2}|#{$1}>" }.size + counted.size
end

def records(count)
  list = Array.new(count) { |i| { 'id' => i, 'name' => "item #{$random.rand(9999)}", 'tags' => Array.new(i % 5) { |k| "t#{k}" }, 'note' => 'n' * $random.rand(200) } }
  again = Marshal.load(Marshal.dump(JSON.parse(JSON.generate(list))))
  again.group_by { |r| r['name'] }.transform_values { |rs| rs.map { |r| r['note'].size }.sum }.sort_by { |n, s| [-s, n] }.first(3)
end

def window(count)
  live = []
  count.times do |i|
    live << Zlib.deflate("line #{i} " * ($random.rand(60) + 1), 1)
    live.delete_at($random.rand(live.size)) if live.size > 2000
  end
  live.sum(&:bytesize)
end

ARGV[0].to_i.times { p [words(60_000), records(15_000), window(12_000)] }
