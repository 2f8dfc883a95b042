#!/usr/bin/env bash
# Figures of the release binary: memory when idle, time from a commit to its build, and of a job that does nothing.
# Prints them; judges nothing. Wants git and python3.
set -euo pipefail
pipelined=$(realpath "${PIPELINED:-target/release/pipelined}")
dir=$(mktemp -d)
pid=
cleanup() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi; rm -rf "$dir"; }
trap cleanup EXIT
cd "$dir"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org

repository() { git init -q -b main "$1" && git -C "$1" commit -q --allow-empty -m one; }
config() { # NAME COUNT
  { echo "workdir = \"$dir/$1\""; echo 'interval = "1s"'; echo 'limit = 2'
    for i in $(seq "$2"); do printf '[projects.p%s]\nremote = "%s/repo%s"\nsuccess_callback = "true"\n' "$i" "$dir" "$i"; done
  } >"$1.toml"
}
start() { "$pipelined" run -c "$1.toml" 2>"$1.log" & pid=$!; }
stop() { kill "$pid"; wait "$pid"; pid=; }
built() { until [ -e "$1/p$2/refs%2Fheads%2Fmain/$3" ]; do sleep 0.005; done; }
resident() { awk '/VmRSS/ {print $2}' "/proc/$pid/status"; }

for i in $(seq 100); do repository "repo$i"; done
for count in 1 100; do
  config "w$count" $count
  start "w$count"
  for i in $(seq $count); do built "w$count" "$i" latest; done
  sleep 3 # three more rounds of polls
  echo "resident, $count projects, interval 1s: $(resident) kB"
  stop
done

config timing 1
start timing
built timing 1 latest
for i in $(seq 20); do
  git -C repo1 commit -q --allow-empty -m "$i"
  date +%s%3N >>seen
  commit=$(git -C repo1 rev-parse --short=8 HEAD)
  built timing 1 "$commit"
  cat "timing/p1/refs%2Fheads%2Fmain/$commit/build.json" >>reports
done
stop
python3 - <<'PY'
import datetime, json, statistics
decoder, text, reports = json.JSONDecoder(), open("reports").read(), []
while text.strip():
    report, end = decoder.raw_decode(text.lstrip())
    reports.append(report)
    text = text.lstrip()[end:]
when = lambda s: datetime.datetime.fromisoformat(s[:23].rstrip("Z") + "+00:00").timestamp() * 1000
waits = [when(r["started"]) - int(t) for r, t in zip(reports, open("seen"))]
jobs = [r["duration_ms"] for r in reports]
line = lambda name, v: print(f"{name}: median {statistics.median(v):.0f} ms, {min(v):.0f} to {max(v):.0f}")
line("from the end of git commit to the build's start (below 0: before git has ended)", waits)
line("a job whose steps do nothing", jobs)
PY
echo "release binary: $(stat -c %s "$pipelined") bytes"
