-- Tables, closures and strings, made and dropped under the collector.
local function tree(depth)
  if depth == 0 then return {} end
  return {tree(depth - 1), tree(depth - 1), name = "node" .. depth}
end

local function count(node)
  local total = 1
  for _, child in ipairs(node) do total = total + count(child) end
  return total
end

-- binary-trees, after the Computer Language Benchmarks Game: a long-lived one
-- among many short-lived.
local kept = tree(15)
for depth = 5, 15, 2 do
  local total = 0
  for _ = 1, 1 << (15 - depth) do total = total + count(tree(depth)) end
end

local words, seed = {}, 42
for i = 1, 200000 do
  seed = (seed * 1103515245 + 12345) % 2147483648
  local word = string.format("w%x", seed % 50021)
  words[word] = (words[word] or 0) + i
end
local keys = {}
for word in pairs(words) do keys[#keys + 1] = word end
table.sort(keys)

local lines = {}
for i, word in ipairs(keys) do
  lines[#lines + 1] = word:rep(1 + i % 5, "-") .. "=" .. words[word]
end
local text = table.concat(lines, "\n")

local handlers = {}
for word, value in text:gmatch("(%S-)=(%d+)") do
  handlers[#handlers + 1] = function(n) return #word * n + value end
end
local sum = 0
for i, handler in ipairs(handlers) do sum = sum + handler(i) end
print(count(kept), #keys, #text, sum)
