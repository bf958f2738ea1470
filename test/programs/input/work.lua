-- Strings, tables, closures and coroutines under both modes of the collector; prints checksums only, never an address.
local rounds = tonumber(arg[1]) or 1

local seed = 12345
local function random(n)
	seed = (seed * 1103515245 + 12345) & 0x7fffffff
	return seed % n + 1
end

local function checksum(s)
	local h = 0xcbf29ce484222325
	for i = 1, #s do h = (h ~ s:byte(i)) * 1099511628211 end
	return string.format("%016x", h)
end

local function strings()
	local parts = {}
	for i = 1, 60000 do parts[#parts + 1] = string.rep(string.char(97 + i % 26), random(60)) end
	local s = table.concat(parts, ",")
	local reversed = s:gsub("%a+", function(w) return w:reverse():upper() end)
	local grown = ""
	for i = 1, 3000 do grown = grown .. i .. ";" end
	return checksum(reversed:sub(1, 200000)) .. checksum(grown) .. #s
end

local function tables()
	local t, keys = {}, 0
	for i = 1, 200000 do
		local k = random(50000)
		if random(3) == 1 then t[k] = nil else t[k] = { id = k, name = "n" .. k, list = { i, i + 1, i + 2 } } end
	end
	local sorted = {}
	for _, v in pairs(t) do sorted[#sorted + 1] = v end
	table.sort(sorted, function(a, b) return a.id < b.id end)
	local sum = 0
	for i, v in ipairs(sorted) do sum = (sum + v.list[1] * i) & 0xffffffff; keys = keys + 1 end
	return keys .. ":" .. sum
end

local function coroutines()
	local sum, threads = 0, {}
	for i = 1, 5000 do
		threads[i] = coroutine.wrap(function()
			local stack = {}
			local function deep(n) if n == 0 then coroutine.yield(i) else stack[n] = { n }; deep(n - 1) end end
			deep(random(150))
			return #stack
		end)
	end
	for _, t in ipairs(threads) do sum = sum + t() end
	for i = 1, #threads, 2 do sum = sum + threads[i]() end
	return sum
end

local function packed()
	local all = {}
	for i = 1, 20000 do all[i] = string.pack(">I4s2d", i, "item" .. i, i / 3) end
	local blob, at, sum = table.concat(all), 1, 0
	while at <= #blob do
		local n, s, d
		n, s, d, at = string.unpack(">I4s2d", blob, at)
		sum = sum + n + #s + d
	end
	return checksum(blob) .. string.format("%.3f", sum)
end

for round = 1, rounds do
	for _, mode in ipairs { "incremental", "generational" } do
		collectgarbage(mode)
		print(round, mode, strings(), tables(), coroutines(), packed())
		collectgarbage()
	end
end
