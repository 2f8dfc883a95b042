# Lists the packages of this image that would be upgraded. Runs inside of a container of the image that is thrown away
# afterwards, and needs nothing but a shell and the image's own package manager.
#
# What it finds goes to the file that PIPELINED_UPDATE_RESULT names: UPGRADE_NEEDED or NO_UPGRADE_NEEDED, one line
# `name old new` for each package, END. Everything else is for the log. Lists that cannot be had as they should be are a
# failure, and never "no upgrade": whatever is not understood ends with `fail`.

set -uf
export LC_ALL=C LANG=C LANGUAGE=C DEBIAN_FRONTEND=noninteractive
PATH=${PATH:-/usr/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
work=${PIPELINED_UPDATE_RESULT%/*}
out=$work/out
updates=
count=0
needed=0

fail() {
  printf 'cannot tell whether there are updates: %s\n' "$*"
  printf 'ERROR %s\n' "$*" >"$PIPELINED_UPDATE_RESULT"
  exit 1
}

# Runs a command; what it says goes to the log as it comes, and to the file $out. Its exit code is $code.
run() {
  printf '+ %s\n' "$*"
  printf '255\n' >"$work/code"
  { "$@" 2>&1 </dev/null; printf '%s\n' "$?" >"$work/code"; } | while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line"
    printf '%s\n' "$line" >&3
  done 3>"$out"
  read -r code <"$work/code" || fail "$1 left no exit code"
}

# Fails for the exit code of the last command, with the last thing that it said.
failed() {
  last=
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    *[!\ ]*) last=$line ;;
    esac
  done <"$out"
  fail "$1 ended with exit code $code${last:+ ($last)}"
}

# An update: name, old version (- if it is not there yet), new version.
found() {
  needed=1
  [ -n "$1" ] && [ -n "$2" ] && [ -n "$3" ] || fail "an update cannot be read: name '$1', old '$2', new '$3'"
  case $updates in
  *"
$1 $2 $3
"*) return ;;
  esac
  updates="$updates
$1 $2 $3
"
  count=$((count + 1))
}

# Fails if a line of what the last command said is like the given one.
no_line_like() {
  pattern=$1
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    $pattern) fail "$line" ;;
    esac
  done <"$out"
}

with_apt() {
  # Nothing is signed by whom the image does not trust, but files need not be handed to another user.
  options="-o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Update::Error-Mode=any"
  # Old ones end well although something could not be fetched.
  run apt-get $options update
  no_line_like 'E: *'
  no_line_like 'Err:*'
  no_line_like 'W: *Failed to fetch*'
  no_line_like 'W: *index files failed to download*'
  no_line_like 'W: *signature verification*'
  [ "$code" = 0 ] || failed "apt-get update"
  asked=0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    Get:* | Hit:*) asked=1 ;;
    esac
  done <"$out"
  [ "$asked" = 1 ] || fail "apt has no sources"
  run apt-get $options -o Debug::NoLocking=1 --simulate dist-upgrade
  no_line_like 'E: *'
  [ "$code" = 0 ] || failed "apt-get dist-upgrade"
  # Inst NAME [OLD] (NEW Origin [arch]) [more]; without [OLD] if it is new
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    'Inst '*) ;;
    *) continue ;;
    esac
    set -- $line
    case ${3:-} in
    '['*) old=${3#'['} old=${old%']'} new=${4:-} ;;
    *) old=- new=${3:-} ;;
    esac
    case $new in
    '('*) new=${new#'('} ;;
    *) fail "not understood: $line" ;;
    esac
    found "$2" "$old" "${new%')'}"
  done <"$out"
}

with_apk() {
  [ -d /var/cache/apk ] || mkdir -p /var/cache/apk
  sources=0
  set +f
  for file in /etc/apk/repositories /etc/apk/repositories.d/*.list /lib/apk/repositories.d/*.list; do
    [ -f "$file" ] || continue
    while read -r word rest || [ -n "$word" ]; do
      case $word in
      '' | '#'*) ;;
      *) sources=1 ;;
      esac
    done <"$file"
  done
  set -f
  [ "$sources" = 1 ] || fail "apk has no repositories"
  run apk update
  [ "$code" = 0 ] || failed "apk update"
  no_line_like 'ERROR:*'
  no_line_like 'WARNING: Ignoring*'
  no_line_like 'WARNING: opening*'
  no_line_like 'WARNING: updating*'
  no_line_like 'WARNING: fetching*'
  no_line_like '* unavailable, * stale;*'
  run apk upgrade --simulate
  [ "$code" = 0 ] || failed "apk upgrade"
  no_line_like 'ERROR:*'
  # (1/2) Upgrading NAME (OLD -> NEW), ( 2/12) Installing NAME (NEW)
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    '('*'/'*') '*) ;;
    *) continue ;;
    esac
    set -- ${line#*') '}
    case ${1:-} in
    Upgrading | Downgrading | Replacing)
      [ "${4:-}" = '->' ] || fail "not understood: $line"
      old=${3#'('} new=${5:-}
      found "$2" "$old" "${new%')'}"
      ;;
    Installing)
      new=${3:-} new=${new#'('}
      found "$2" - "${new%')'}"
      ;;
    esac
  done <"$out"
}

# A repository that is down must not be passed over, whatever the image says.
no_repository_is_skipped() {
  set +f
  for file in /etc/dnf/dnf.conf /etc/yum.conf /etc/yum.repos.d/*.repo /etc/distro.repos.d/*.repo \
    /etc/dnf/repos.override.d/*.repo /usr/share/dnf5/repos.d/*.repo; do
    [ -f "$file" ] || continue
    kept=
    changed=0
    while IFS= read -r line || [ -n "$line" ]; do
      case $line in
      skip_if_unavailable*) changed=1 ;;
      *) kept="$kept$line
" ;;
      esac
    done <"$file"
    [ "$changed" = 0 ] || printf '%s' "$kept" >"$file" || fail "cannot write $file"
  done
  set -f
}

# The version of an installed package: NAME.ARCH.
installed() {
  old=-
  run /usr/bin/rpm -q --qf '%{EVR}\n' "$1"
  [ "$code" = 0 ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do old=$line; done <"$out"
}

with_dnf() {
  no_repository_is_skipped
  run "$1" -q repolist
  [ "$code" = 0 ] || failed "$1 repolist"
  [ -s "$out" ] || fail "$1 has no repositories"
  run "$1" --refresh '--setopt=*.skip_if_unavailable=0' check-update
  case $code in
  0) return ;;
  100) needed=1 ;;
  *) failed "$1 check-update" ;;
  esac
  # There are some. Which ones is told by another question, one a line whatever the width.
  run "$1" -q repoquery --upgrades --latest-limit=1 --qf '@ %{name} %{arch} %{evr}\n'
  [ "$code" = 0 ] || return 0
  list=$out out=$work/version
  while read -r mark name arch new rest; do
    [ "$mark" = @ ] || continue
    installed "$name.$arch"
    found "$name" "${old#0:}" "${new#0:}"
  done <"$list"
}

with_yum() {
  no_repository_is_skipped
  run yum clean expire-cache
  run yum '--setopt=*.skip_if_unavailable=0' check-update
  case $code in
  0) return ;;
  100) needed=1 ;;
  *) failed "yum check-update" ;;
  esac
  # NAME.ARCH VERSION REPOSITORY, after an empty line; what is too long goes on in the next line.
  list=$out out=$work/version
  begun=0
  words=
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    '') begun=1 words= ;;
    'Obsoleting Packages'*) break ;;
    *)
      [ "$begun" = 1 ] || continue
      words="$words $line"
      set -- $words
      [ $# -ge 3 ] || continue
      words=
      [ $# = 3 ] || continue
      case $1 in
      ?*.?*) ;;
      *) continue ;;
      esac
      installed "$1"
      found "${1%.*}" "${old#0:}" "${2#0:}"
      ;;
    esac
  done <"$list"
}

# Sets name and version of a NAME-[EPOCH:]VERSION-RELEASE.ARCH.
nevra() {
  name=${1%.*}
  release=${name##*-} name=${name%-*}
  version=${name##*-}-$release name=${name%-*}
}

with_microdnf() {
  no_repository_is_skipped
  run microdnf --refresh --assumeno upgrade
  [ "$code" = 0 ] || failed "microdnf upgrade"
  no_line_like '*libdnf-WARNING*'
  # A table, with what each package replaces below it; then how many there are.
  section=
  last= new= old=-
  done=0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    'Nothing to do.'*) done=1 ;;
    'Transaction Summary:'*) done=1 section=summary ;;
    Upgrading:*) section=upgrading ;;
    [A-Z]*:*) section= ;;
    ' '*)
      set -- $line
      case $section,${1:-} in
      summary,Upgrading: | summary,Obsoleting:) [ "${2:-0}" = 0 ] || needed=1 ;;
      upgrading,replacing)
        nevra "${2:-}"
        [ "$name" != "$last" ] || old=$version
        ;;
      upgrading,?*)
        [ -z "$last" ] || found "$last" "$old" "$new"
        nevra "$1"
        last=$name new=$version old=-
        ;;
      esac
      ;;
    esac
  done <"$out"
  [ -z "$last" ] || found "$last" "$old" "$new"
  [ "$done" = 1 ] || fail "what microdnf said is not understood"
}

with_pacman() {
  options="--noconfirm --noprogressbar"
  # Its sandbox needs a kernel and rights that a container may not have; the container is one.
  case $(pacman --sync --help 2>&1) in
  *--disable-sandbox*) options="$options --disable-sandbox" ;;
  esac
  run pacman $options --sync --refresh
  [ "$code" = 0 ] || failed "pacman --sync --refresh"
  no_line_like 'error:*'
  # 0 with some, 1 with none, and 1 for every error.
  run pacman --query --upgrades
  no_line_like 'error:*'
  no_line_like 'warning: database file * does not exist*'
  case $code in
  0) ;;
  1) [ ! -s "$out" ] || fail "what pacman said is not understood" ;;
  *) failed "pacman --query --upgrades" ;;
  esac
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    *'[ignored]') continue ;;
    warning:*) continue ;;
    esac
    set -- $line
    [ "$#,${3:-}" = '4,->' ] || fail "not understood: $line"
    found "$1" "$2" "$4"
  done <"$out"
}


has() {
  command -v "$1" >/dev/null 2>&1
}

if has apt-get && [ -s /var/lib/dpkg/status ]; then
  with_apt
elif has apk; then
  with_apk
elif has dnf5; then
  with_dnf dnf5
elif has dnf; then
  with_dnf dnf
elif has microdnf; then
  with_microdnf
elif has yum; then
  with_yum
elif has pacman; then
  with_pacman
else
  exit 3
fi

{
  case $needed in
  1) echo UPGRADE_NEEDED ;;
  *) echo NO_UPGRADE_NEEDED ;;
  esac
  printf '%s' "$updates" | while read -r name old new; do
    [ -z "$name" ] || printf '%s %s %s\n' "$name" "$old" "$new"
  done
  echo END
} >"$PIPELINED_UPDATE_RESULT" || fail "cannot write the result"
