-- SPDX-License-Identifier: GPL-2.0-or-later
-- What wrk found, as one line of JSON behind its own text. Latencies are microseconds.
done = function(summary, latency, requests)
	local errors = summary.errors
	io.write(string.format(
		'\nJSON {"requests":%d,"us":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,"errors":%d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
		latency:percentile(99), latency.max,
		errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
