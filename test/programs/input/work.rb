# Strings, hashes, threads, fibers, compaction and a fork; prints checksums only, never an address.
require 'digest'
require 'erb'
require 'json'
require 'ripper'
require 'set'
require 'zlib'

rounds = (ARGV.shift || 1).to_i
$random = Random.new(42)

def sum(object) = Digest::SHA256.hexdigest(object.is_a?(String) ? object : JSON.generate(object))

def texts
  words = Array.new(60_000) { |i| "w#{$random.rand(3000)}" * (i % 7 + 1) }
  text = words.join(' ')
  counted = text.scan(/w(\d+)/).map { |(n)| n.to_i % 500 }.tally
  grown = +''
  words.each { |w| grown << w.tr('0-9', 'a-j').capitalize }
  sum(counted.sort) + sum(grown.encode('UTF-16LE').encode('UTF-8'))
end

def trees
  root = {}
  40_000.times { |i| $random.rand(64).then { |a| ((root[a] ||= {})[i % 97] ||= []) << { id: i, name: "item #{i}", tags: [i, a] } } }
  root.delete_if { |k, _| k % 3 == 0 }
  copy = Marshal.load(Marshal.dump(root))
  parsed = JSON.parse(JSON.generate(copy))
  sum(parsed.sort_by { |k, _| k.to_i }) + Set.new(parsed.values.flat_map(&:keys)).size.to_s
end

def threads
  queue, done = Queue.new, Queue.new
  workers = Array.new(6) do
    Thread.new do
      while (job = queue.pop)
        done << [job, Zlib.inflate(Zlib.deflate("#{job} " * (job % 800 + 1), 9)).bytesize, sum("x" * job)]
      end
    end
  end
  1500.times { |i| queue << i + 1 }
  queue.close
  workers.each(&:join)
  sum(Array.new(done.size) { done.pop }.sort)
end

def fibers
  all = Array.new(800) { |i| Fiber.new { |n| loop { n = Fiber.yield([i, n, 'f' * (n % 200)].join(':')) } } }
  sum(4.times.flat_map { |round| all.map { |f| f.resume(round * 37) } })
end

def sources
  Dir['/usr/lib/ruby/3.1.0/{set,json,optparse,net}/**/*.rb'].sort.map { |f| sum(Ripper.sexp(File.read(f)).inspect) }.then { |s| sum(s) }
end

def forked
  r, w = IO.pipe
  pid = fork { r.close; GC.start; w.write(texts) ; w.close; exit!(0) }
  w.close
  answer = r.read
  Process.wait(pid)
  "#{$?.exitstatus} #{answer == texts}"
end

rounds.times do |i|
  page = ERB.new('<% 2000.times do |n| %><li><%= "row #{n} of #{i}" %></li><% end %>').result(binding)
  puts [i, sum(page), texts, trees, threads, fibers, sources, forked].join(' ')
  GC.compact if GC.respond_to?(:compact)
  GC.start
end
