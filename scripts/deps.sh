#!/usr/bin/env bash
# Installs the Debian packages that are missing, and only those.
#
#   scripts/deps.sh demo    what `make demo` uses
#   scripts/deps.sh test    what the tests use too: git servers, docker, a registry, systemd-analyze (default)
set -euo pipefail

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: %s\n' "$*" >&2; exit 1; }

level=${1:-test}
# netavark runs iptables, which Debian only recommends.
packages=(podman runc netavark aardvark-dns iptables busybox-static git rsync procps ca-certificates)
# Rust needs a linker, and the bundled SQLite a compiler and headers; any will do.
command -v cc >/dev/null || packages+=(gcc libc6-dev)
# Ordinary users run podman rootless.
[ "$(id -u)" = 0 ] || packages+=(uidmap fuse-overlayfs slirp4netns)
case $level in
demo) ;;
test)
  packages+=(buildah skopeo uidmap fuse-overlayfs nginx-light fcgiwrap openssh-server openssh-client openssl
    docker.io docker-registry apache2-utils graphviz curl systemd man-db gcc libc6-dev
    apt-utils dnf createrepo-c rpm pacman-package-manager)
  ;;
*) die "usage: scripts/deps.sh [demo|test]" ;;
esac

{ command -v dpkg-query && command -v apt-get; } >/dev/null ||
  die "this is no Debian (no dpkg-query or apt-get). Install these by hand: ${packages[*]}"

# dpkg-query fails when a package is unknown, which is an answer here.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
  sed -n 's/ installed$//p' || true)
missing=()
for package in "${packages[@]}"; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "run this as root, or install them first: apt-get install ${missing[*]}"
  root=(sudo)
fi

say "installing what is missing: ${missing[*]}"
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
"${apt[@]}" update || die "apt-get update failed: is there a network, and a mirror in the sources of apt?"
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null ||
  die "apt-get could not install: ${missing[*]}"

# Debian starts the services of what it installs. The tests start their own, on loopback: ours stay off.
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    case $package in
    nginx-light) units=(nginx.service) ;;
    fcgiwrap) units=(fcgiwrap.socket fcgiwrap.service) ;;
    openssh-server) units=(ssh.service) ;;
    docker.io) units=(docker.socket docker.service containerd.service) ;;
    docker-registry) units=(docker-registry.service) ;;
    *) continue ;;
    esac
    say "switching off ${units[*]}, which came with $package and is not needed"
    "${root[@]}" systemctl disable --now --quiet "${units[@]}" || say "could not; do it by hand if you want it off"
  done
fi
say "done"
