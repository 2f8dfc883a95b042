//! A stand-in for kaniko's executor: it obeys no Containerfile, and is strict about how it is called.
//!
//! Every image that it makes has busybox, and the file `data` of the context if there is one. It really pushes, to
//! registries without TLS.
//!
//! What the real one takes and what it refuses is written down here as a shell script. It exits with 1 and says why for
//! anything that is not by the contract: an unknown flag, a mount that is writable and should not be, a file that others
//! can read, a registry that the build does not need. What it was called with it writes to /out, for the test to see.

use crate::support::podman::{BUSYBOX, Podman};
use crate::support::scratch::Scratch;

/// The stand-in's name in the storage after [`load`].
pub const EXECUTOR: &str = "localhost/executor:latest";

/// Makes it, as an image.
pub fn load(podman: &Podman, scratch: &Scratch) {
    let dir = scratch.mkdir("executor");
    std::fs::write(dir.join("executor"), SCRIPT).unwrap();
    let text = format!(
        "FROM {BUSYBOX}\nCOPY --chmod=755 executor /kaniko/executor\nENV DOCKER_CONFIG=/kaniko/.docker\n\
         ENTRYPOINT [\"/kaniko/executor\"]\n"
    );
    std::fs::write(dir.join("Containerfile"), text).unwrap();
    podman.run(&["build", "--quiet", "--tag", EXECUTOR, dir.to_str().unwrap()]);
}

/// In the Containerfile a line `#! exit N` ends it with that code, as a RUN that fails does; `#! hang` never ends;
/// `#! forget` ends it well and writes nothing; `#! pretend` ends it well and writes a digest of nothing that was pushed.
const SCRIPT: &str = r##"#!/bin/sh
set -u
die() { echo "executor: $*" >&2; exit 1; }
if [ "${1:-}" = version ]; then echo 'Kaniko version :  v0.0.1-stand-in'; exit 0; fi
context= dockerfile= digest_file= tar_path= push=yes destination= hosts= labels=
mkdir -p /tmp
for flag in "$@"; do printf '%s\n' "$flag"; done > /tmp/argv
for flag in "$@"; do
  value=${flag#*=}
  case $flag in
  --context=dir:///*) context=${value#dir://} ;;
  --dockerfile=/*) dockerfile=$value ;;
  --destination=*) destination=$value ;;
  --digest-file=/*) digest_file=$value ;;
  --tar-path=/*) tar_path=$value ;;
  --no-push) push=no ;;
  --log-format=text | --cache=true | --single-snapshot) ;;
  --snapshot-mode=full | --snapshot-mode=redo | --snapshot-mode=time) ;;
  --cache-repo=*/* | --target=?*) ;;
  --label=?*=*)
    pair=$(printf '%s' "$value" | sed 's/[\\"]/\\&/g; s/=/":"/')
    labels="$labels${labels:+,}\"$pair\"" ;;
  --build-arg=*)
    case $value in
    *=*) printf '%s\n' "$value" ;;
    *) eval "printf '%s=%s\n' \"$value\" \"\${$value-}\"" ;;
    esac >> /tmp/args ;;
  --secret=id=*,src=/*)
    source=${value#*,src=}
    [ -f "$source" ] || die "no secret at $source"
    (: >> "$source") 2>/dev/null && die "the secret $source can be written"
    wc -c < "$source" >> /tmp/secrets ;;
  --insecure-registry=*:* | --skip-tls-verify-registry=*:*) ;;
  --registry-certificate=*=/*)
    file=${value#*=}
    grep -q 'BEGIN CERTIFICATE' "$file" || die "no certificate at $file"
    (: >> "$file") 2>/dev/null && die "the certificate $file can be written" ;;
  *) die "unknown flag: $flag" ;;
  esac
done
[ -n "$destination" ] || die 'no destination'
[ "$(id -u)" = 0 ] || die 'not root'
[ -d "$context" ] || die "no context at $context"
touch "$context/x" 2>/dev/null && die 'the context can be written'
[ -f "$dockerfile" ] || die "no Containerfile at $dockerfile"
(: >> "$dockerfile") 2>/dev/null && die 'the Containerfile can be written'
touch /x || die 'the root file system cannot be written'
if [ -e /kaniko/.docker/config.json ]; then
  config=/kaniko/.docker/config.json
  [ "$(stat -c %a $config)" = 600 ] || die 'others can read config.json'
  (: >> $config) 2>/dev/null && die 'config.json can be written'
  # Whoever is in it must be somebody that this build speaks to.
  for host in $(grep -o '"[^"]*":{"auth":' $config | cut -d'"' -f2); do
    case "$destination $* $(grep -i '^FROM' "$dockerfile")" in *"$host"*) ;; *) die "config.json has $host, which is not needed" ;; esac
  done
  cp $config /out/config.json
fi
cp /tmp/argv /out/argv
[ ! -e /tmp/args ] || cp /tmp/args /out/args
[ ! -e /tmp/secrets ] || cp /tmp/secrets /out/secrets
[ ! -e "$dockerfile.dockerignore" ] || cp "$dockerfile.dockerignore" /out/ignore
cp "$dockerfile" /out/Containerfile
case $(sed -n 's/^#! //p' "$dockerfile") in
exit*) exit "$(sed -n 's/^#! exit //p' "$dockerfile")" ;;
hang) echo up; trap '' TERM; while :; do sleep 0.1; done ;;
forget) exit 0 ;;
esac
echo "executor: the stand-in builds $destination, with logins for" \
  "$(grep -o '"[^"]*":{"auth":' /kaniko/.docker/config.json 2>/dev/null | cut -d'"' -f2 | tr '\n' ' ')"
sed 's/^/executor: | /' "$dockerfile"
# The image: one layer, and the config that says so.
cd /tmp && mkdir image && cp -a /bin image/bin && echo built > image/built
[ ! -e "$context/data" ] || cp "$context/data" image/data
# The same each time.
find image -exec touch -h -d @0 {} +
tar -c -f layer.tar -C image .
id=$(sha256sum layer.tar | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{"Labels":{%s}},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"x"}]}' \
  "$labels" "$id" > config.json
name=$(sha256sum config.json | cut -d' ' -f1)
if [ $push = no ]; then
  [ -n "$tar_path" ] && [ -z "$digest_file" ] || die '--no-push needs --tar-path'
  mv config.json "$name.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" "$destination" > manifest.json
  tar -c -f "$tar_path" manifest.json "$name.json" layer.tar
  exit 0
fi
[ -n "$digest_file" ] && [ -z "$tar_path" ] || die 'a push needs --digest-file and no --tar-path'
if grep -q '^#! pretend' "$dockerfile"; then printf 'sha256:%064d' 7 > "$digest_file"; exit 0; fi
host=${destination%%/*}
repository=${destination#*/}
tag=${repository##*:}
repository=${repository%:*}
case " $* " in *" --insecure-registry=$host "*) ;; *) die "$host is to be spoken to by TLS, which is beyond me" ;; esac
login=$(grep -o "\"$host\":{\"auth\":\"[^\"]*" /kaniko/.docker/config.json 2>/dev/null | sed 's/.*"//')
# request METHOD PATH TYPE FILE: the answer is in /tmp/answer. The way there stays open until the registry has answered.
request() {
  rm -f /tmp/way && mkfifo /tmp/way
  nc "${host%:*}" "${host#*:}" < /tmp/way > /tmp/answer &
  exec 3> /tmp/way
  {
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %s\r\n' \
      "$1" "$2" "$host" "$3" "$(wc -c < "$4")"
    [ -z "$login" ] || printf 'Authorization: Basic %s\r\n' "$login"
    printf '\r\n'
    cat "$4"
  } >&3
  wait $!
  exec 3>&-
  case $(head -n 1 /tmp/answer) in *' 20'*) ;; *) die "$1 $2: $(head -n 1 /tmp/answer)" ;; esac
}
blob() {
  request POST "/v2/$repository/blobs/uploads/" text/plain /dev/null
  place=$(tr -d '\r' < /tmp/answer | sed -n 's/^[Ll]ocation: //p' | sed 's|^http://[^/]*||')
  request PUT "$place&digest=sha256:$(sha256sum "$1" | cut -d' ' -f1)" application/octet-stream "$1"
}
part() { printf '{"mediaType":"%s","size":%s,"digest":"sha256:%s"}' "$2" "$(wc -c < "$1")" "$(sha256sum "$1" | cut -d' ' -f1)"; }
gzip -c < layer.tar > layer.tar.gz
blob layer.tar.gz
blob config.json
docker=application/vnd.docker
printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' $docker.distribution.manifest.v2+json \
  "$(part config.json $docker.container.image.v1+json)" "$(part layer.tar.gz $docker.image.rootfs.diff.tar.gzip)" > manifest.json
request PUT "/v2/$repository/manifests/$tag" $docker.distribution.manifest.v2+json manifest.json
printf 'sha256:%s' "$(sha256sum manifest.json | cut -d' ' -f1)" > "$digest_file"
"##;
