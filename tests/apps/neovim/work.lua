-- SPDX-License-Identifier: ISC
-- Uses vim.loop's pool in all its ways: files asynchronously, user work in other Lua states, name look-ups, random.
-- Writes what it found to the file "result", in an order that does not depend on who finished first.
local uv = vim.loop
local lines, waiting = {}, 0

local function note(text)
  lines[#lines + 1] = text
end

local function ended()
  waiting = waiting - 1
end

local function await()
  if not vim.wait(30000, function() return waiting == 0 end, 1) then
    error("no end: " .. waiting .. " are missing")
  end
end

-- Files: written, read, listed and looked at, all at once.
local function write_and_read(i)
  local path = string.format("file%03d", i)
  waiting = waiting + 1
  uv.fs_open(path, "w+", 384, function(err, file)
    assert(not err, err)
    uv.fs_write(file, string.rep(path .. "\n", i), 0, function(write_err, written)
      assert(not write_err, write_err)
      uv.fs_read(file, written, 0, function(read_err, data)
        assert(not read_err, read_err)
        uv.fs_fstat(file, function(stat_err, stat)
          assert(not stat_err, stat_err)
          note(string.format("%s %d %d %s", path, written, stat.size, tostring(#data == stat.size)))
          uv.fs_close(file, ended)
        end)
      end)
    end)
  end)
end
for i = 1, 120 do write_and_read(i) end
await()

waiting = 1
uv.fs_scandir(".", function(err, list)
  assert(not err, err)
  local count = 0
  while uv.fs_scandir_next(list) do count = count + 1 end
  note("entries " .. count)
  ended()
end)
await()

-- User work: each sum is computed in a Lua state of the worker thread.
local work = uv.new_work(function(n)
  local sum = 0
  for i = 1, n do sum = (sum + i * i) % 1000003 end
  return n, sum
end, function(n, sum)
  note(string.format("sum %06d %d", n, sum))
  ended()
end)
for i = 1, 60 do
  waiting = waiting + 1
  work:queue(i * 1000)
end
await()

-- Look-ups and random.
waiting = 2
uv.getaddrinfo("localhost", nil, { family = "inet", socktype = "stream" }, function(err, found)
  note("localhost " .. (err or found[1].addr))
  ended()
end)
uv.random(32, 0, function(err, bytes)
  assert(not err, err)
  note("random " .. #bytes)
  ended()
end)
await()

table.sort(lines)
local out = assert(io.open("result", "w"))
out:write(table.concat(lines, "\n"), "\n")
out:close()
