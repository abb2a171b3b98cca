-- Sends one request again and again, checks that every answer is 200 and holds the expected text, prints one JSON line.
-- Environment: BENCH_METHOD, BENCH_BODY (file), BENCH_HEADERS (one a line), BENCH_EXPECT (plain text).
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method, wrk.body = os.getenv("BENCH_METHOD"), file:read("*a")
file:close()
for name, value in os.getenv("BENCH_HEADERS"):gmatch("([^:\n]+): *([^\n]*)") do wrk.headers[name] = value end

local expect, threads = os.getenv("BENCH_EXPECT"), {}
function setup(thread) table.insert(threads, thread) end
function init() wrong, sample = 0, "" end
function response(status, _, body)
  if status ~= 200 or not body:find(expect, 1, true) then
    wrong = wrong + 1
    if sample == "" then sample = status .. " " .. body:sub(1, 300) end
  end
end

function done(summary, latency)
  local all, first = 0, ""
  for _, thread in ipairs(threads) do
    all = all + thread:get("wrong")
    if first == "" then first = thread:get("sample") end
  end
  local e = summary.errors
  print(string.format('{"requests": %d, "seconds": %.4f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.1f, "wrong": %d, "socket_errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    all, e.connect + e.read + e.write + e.timeout))
  if first ~= "" then io.stderr:write("first wrong answer: ", first, "\n") end
end
