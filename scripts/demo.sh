#!/usr/bin/env bash
# `make demo`: pipelined at work on a sample repository, from nothing to a clean stop.
#
# Everything is in one temporary folder, podman's storage included, which is removed at the end, also after a
# failure or Ctrl-C. PIPELINED=FILE takes a binary that is there already instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

bold='' plain=''
[ ! -t 1 ] || { bold=$(printf '\033[1m') plain=$(printf '\033[0m'); }
step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '    %s\n' "$*"; }
die() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
# Shows a command as a person would type it, and runs it.
show() { printf '    $ %s\n' "${*/#"$pipelined"/pipelined}"; "$@" 2>&1 | sed 's/^/    /'; }

daemon=''
dir=''

# Overlays must be unmounted before their folder can go.
clean_up() {
  local status=$? mount
  trap - EXIT INT TERM HUP
  if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
    kill -TERM "$daemon" || true
    for _ in $(seq 300); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$daemon" 2>/dev/null || true
  fi
  if [ -n "$dir" ]; then
    if ours; then podman rm --all --force >/dev/null 2>&1 || true; fi
    { grep -oE " $dir/[^ ]+" /proc/self/mounts || true; } | sort -ru | while read -r mount; do umount -l "$mount" || true; done
    if [ "$(id -u)" != 0 ]; then
      # In rootless podman's storage are files of other user ids, and a process of it stays; with a folder of its own
      # for such things (see below) that is the demo's.
      podman unshare rm -rf "$dir/storage" 2>/dev/null || true
      if [ -e "$dir/podman/pause.pid" ]; then kill -KILL "$(cat "$dir/podman/pause.pid")" || true; fi
    fi
    rm -rf "$dir" || true
    [ ! -e "$dir" ] || printf 'demo: could not remove %s\n' "$dir" >&2
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; the daemon must not end meanwhile.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    kill -0 "$daemon" 2>/dev/null || { cat "$dir/daemon.log" >&2; die "the daemon ended while we waited for $what"; }
    if [ "$SECONDS" -ge "$deadline" ]; then
      { cat "$dir/daemon.log"; tail -n 40 "$dir"/work/hello/*/*/build.log || true; } >&2
      die "waited in vain for $what"
    fi
    sleep 0.1
  done
}

# What the demo waits for and shows: `latest` names the newest commit of a ref that was built, in 8 digits.
answers() { "$pipelined" status --config "$dir/pipelined.toml" --json >/dev/null 2>&1; }
written() { cat "$dir/work/hello/refs%2Fheads%2Fmain/latest/drop/index.html"; }
built() { [ "$(readlink "$dir/work/hello/refs%2Fheads%2Fmain/latest" 2>/dev/null)" = "${1:0:8}" ]; }

failed() {
  "$pipelined" explain --config "$dir/pipelined.toml" hello | grep -F "${1:0:8}" | grep -w failed >/dev/null
}

# write_storage DRIVER
write_storage() {
  cat >"$dir/storage.conf" <<CONF
[storage]
driver = "$1"
graphroot = "$dir/storage/$1"
rootless_storage_path = "$dir/storage/$1"
runroot = "$dir/run/$1"
CONF
}

# Whether podman builds an image that runs a command, with its own settings or with those we gave it.
podman_works() {
  printf 'FROM scratch\nCOPY busybox /busybox\nRUN ["/busybox", "true"]\n' |
    podman build --quiet --file - --tag localhost/probe "$dir/probe" >"$dir/probe.log" 2>&1 &&
    podman run --rm localhost/probe /busybox true >>"$dir/probe.log" 2>&1 &&
    podman rmi localhost/probe >>"$dir/probe.log" 2>&1
}

# Never touch a storage that is not the demo's: rootless podman has ideas of its own about where it is.
ours() { [[ "$(podman info --format '{{.Store.GraphRoot}}' 2>/dev/null)" == "$dir"/* ]]; }

# commit MESSAGE: of everything in the working copy; its hash.
commit() {
  git -C "$dir/copy" add --all
  git -C "$dir/copy" commit --quiet --message "$1"
  git -C "$dir/copy" push --quiet origin main
  git -C "$dir/copy" rev-parse HEAD
}

step "Installing what is missing (nothing, if podman and its friends are here)"
scripts/deps.sh demo

if [ -n "${PIPELINED:-}" ]; then
  pipelined=$(realpath "$PIPELINED")
else
  step "Building the release binary (some minutes the first time)"
  command -v cargo >/dev/null || die "there is no cargo: install Rust first, see https://rustup.rs"
  cargo build --locked --release
  pipelined=$(realpath "${CARGO_TARGET_DIR:-target}/release/pipelined")
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/pipelined-demo.XXXXXX")
step "Everything of this demo is in $dir, and goes with it"
# The user's own git settings, hooks and signing have no part in this.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Demo GIT_AUTHOR_EMAIL=demo@example.org GIT_COMMITTER_NAME=Demo GIT_COMMITTER_EMAIL=demo@example.org

step "Trying podman, with a storage of its own"
busybox=$(command -v busybox) || die "busybox-static is installed, but there is no busybox in PATH"
mkdir "$dir/probe"
cp "$busybox" "$dir/probe/busybox"
export CONTAINERS_STORAGE_CONF=$dir/storage.conf
write_storage overlay
ours || die "podman does not keep to the storage of the demo: $(podman info 2>&1 | tail -n 1)"
if podman_works; then
  say "it builds and runs with the settings of this machine"
else
  say "with the settings of this machine it does not: $(tail -n 1 "$dir/probe.log")"
  say "giving it others, for this demo only: runc, cgroupfs, no network of its own"
  cat >"$dir/containers.conf" <<CONF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$dir/podman"
[network]
network_backend = "netavark"
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
CONF
  export CONTAINERS_CONF=$dir/containers.conf
  if ! podman_works; then
    say "that is not enough: $(tail -n 1 "$dir/probe.log")"
    say "trying the storage driver that works everywhere, vfs"
    write_storage vfs
    podman_works || { cat "$dir/probe.log" >&2; die "podman does not work here"; }
  fi
  say "that works"
fi

step "Making a git repository with a Containerfile, a page, and a bare one that is its remote"
git init --quiet --bare --initial-branch=main "$dir/hello.git"
git clone --quiet "$dir/hello.git" "$dir/copy" 2>/dev/null
git -C "$dir/copy" checkout --quiet -B main
cp "$busybox" "$dir/copy/busybox"
cat >"$dir/copy/Containerfile" <<'FILE'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY page.html /page.html
CMD ["/bin/sh", "-c", "echo making the page; cp /page.html /drop/index.html"]
FILE
echo '<h1>Hello</h1>' >"$dir/copy/page.html"
first=$(commit "A page")
sed 's/^/    | /' "$dir/copy/Containerfile"

step "Writing the config"
cat >"$dir/pipelined.toml" <<CONF
interval = "1s"
workdir  = "$dir/work"

[projects.hello]
remote   = "$dir/hello.git"
branches = ["main"]

[projects.hello.image]
test    = ["grep", "-q", "<h1>", "/page.html"]
release = ["localhost/hello:latest"]

[projects.hello.run]
CONF
sed 's/^/    | /' "$dir/pipelined.toml"

step "Starting the daemon"
"$pipelined" run --config "$dir/pipelined.toml" >"$dir/daemon.log" 2>&1 &
daemon=$!
wait_for 30 "the daemon to answer" answers
say "it runs, as process $daemon"

step "Waiting until commit ${first:0:8} is built from scratch and tested, has run, and is released"
wait_for 180 "commit ${first:0:8}" built "$first"
page=$(written)
say "the run has written: $page"

step "Pushing a second commit"
echo '<h1>Hello again</h1>' >"$dir/copy/page.html"
second=$(commit "A friendlier page")
wait_for 180 "commit ${second:0:8}" built "$second"
page=$(written)
say "commit ${second:0:8} is built too, and has written: $page"

step "Pushing a third one, with a page that its test does not like"
echo 'No heading' >"$dir/copy/page.html"
third=$(commit "A page without a heading")
wait_for 180 "commit ${third:0:8} to fail" failed "$third"
page=$(podman run --rm localhost/hello:latest cat /page.html)
say "commit ${third:0:8} has failed, and localhost/hello:latest still has: $page"

step "What it knows about itself"
show "$pipelined" status --config "$dir/pipelined.toml"

step "What it has released"
show "$pipelined" images --config "$dir/pipelined.toml"

step "Why it did what it did"
show "$pipelined" explain --config "$dir/pipelined.toml" hello

step "The log of the third build"
show "$pipelined" log --config "$dir/pipelined.toml" hello

step "Stopping the daemon with TERM"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
[ "$status" = 0 ] || { cat "$dir/daemon.log" >&2; die "the daemon ended with $status and not 0"; }
daemon=''
say "it ended with 0"

cat <<'TEXT'

That was all of it. To point it at a repository of your own, put this in pipelined.toml:

    workdir = "/var/lib/pipelined"

    [projects.mine]
    remote   = "https://git.example.org/mine.git"
    branches = ["main"]

    [projects.mine.image]
    test    = "mine --version"
    release = ["localhost/mine:latest"]

and then

    target/release/pipelined check --config pipelined.toml    # is it right?
    target/release/pipelined plan  --config pipelined.toml    # what would be built?
    target/release/pipelined run   --config pipelined.toml

`make install` installs it with a systemd unit; pipelined.toml.example has every key.
TEXT
