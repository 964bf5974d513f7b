#!/usr/bin/env bash
# Installs the real registries and clients that the tests and benches talk to (Debian, as root).
# Idempotent: what is already there costs a look, not a download. Every step puts its result in
# place last, so a run that was interrupted is taken up by the next one. Go tools go to
# $SLUICE_TOOLS/bin, which .ci/run puts on PATH.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools="${SLUICE_TOOLS:-$HOME/.cache/sluice-tools}"
bin="$tools/bin"
stamps="$tools/stamps"
mkdir -p "$bin" "$stamps"

apt_packages=(
  apache2-utils       # htpasswd
  ca-certificates
  containerd          # 1.6: containerd, ctr
  debootstrap         # a Debian root file system for the test images
  docker-registry     # distribution 2.8
  nginx-light         # the bench's peer
  openssl             # the tests' certificate authority
  podman
  prometheus          # prometheus, promtool
  python3-venv
  skopeo
  strace              # makes a disk fail under the proxy
  zstd
)

fail() {
  echo "install-tools: $*" >&2
  exit 1
}

# One run at a time: the second finds everything done.
exec 9>"$tools/.lock"
flock 9

rm -rf "$tools"/.work.* # of a run that was killed
work=$(mktemp -d "$tools/.work.XXXXXX")
policy=/usr/sbin/policy-rc.d
made_policy=
cleanup() {
  rm -rf "$work"
  [ -z "$made_policy" ] || rm -f "$policy"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need_root() {
  [ "$(id -u)" -eq 0 ] || fail "$1: run me as root once"
}

install_apt() {
  local installed missing=() package
  installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' "${apt_packages[@]}" 2>/dev/null || true)
  for package in "${apt_packages[@]}"; do
    grep -qx "ii *$package" <<<"$installed" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "apt: ${missing[*]}"
  need_root "apt must install ${missing[*]}"
  if [ ! -e "$policy" ]; then
    # Debian's package scripts would start the servers: only the binaries are wanted.
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >"$tools/apt.log" 2>&1 ||
    fail "apt-get failed: $(tail -5 "$tools/apt.log")"
}

# Go's own installer leaves it outside the PATH of a shell that is not a login shell.
find_go() {
  command -v go >/dev/null && return
  [ -x /usr/local/go/bin/go ] || fail "$1 is built with Go: install it (https://go.dev/dl/), or put it on PATH"
  PATH="$PATH:/usr/local/go/bin"
}

# is_stamped NAME VERSION: whether that version is installed. stamp writes it down.
is_stamped() {
  [ -x "$bin/$1" ] && [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]
}

put_in_place() {
  mv "$1" "$bin/$2"
  echo "$3" >"$stamps/$2"
}

# go_tool NAME PACKAGE@VERSION
go_tool() {
  local name=$1 package=$2 binary
  is_stamped "$name" "$package" && return
  find_go "$name"
  echo "go: $name from $package"
  binary=${package%@*}
  GOBIN="$work" GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install -ldflags='-s -w' "$package"
  put_in_place "$work/${binary##*/}" "$name" "$package"
}

# module_tool NAME MODULE VERSION PACKAGE: what has a replace directive, which `go install` refuses,
# is built as a requirement of a module. PACKAGE may be a .go file of ours that uses MODULE.
module_tool() {
  local name=$1 path=$2 version=$3 package=$4 module="$work/$1-module" stamp=$3
  [[ $package != *.go ]] || stamp="$version $(sha256sum <"$package" | cut -c1-16)"
  is_stamped "$name" "$stamp" && return
  find_go "$name"
  echo "go: $name $version"
  mkdir "$module"
  if [[ $package == *.go ]]; then
    cp "$package" "$module/main.go"
    package=.
  else
    printf '//go:build tools\n\npackage tools\n\nimport _ "%s"\n' "$package" >"$module/tools.go"
  fi
  (
    cd "$module"
    {
      go mod init "sluice.local/$name"
      go mod edit -require="$path@$version"
      go mod tidy
    } >"$work/$name.log" 2>&1 || fail "go could not resolve $name: $(tail -5 "$work/$name.log")"
    CGO_ENABLED=0 go build -buildvcs=false -ldflags='-s -w' -o "$work/$name" "$package"
  )
  put_in_place "$work/$name" "$name" "$stamp"
}

# python_tool NAME COMMAND PACKAGE==VERSION: from PyPI, with all that it needs in a folder of its own.
python_tool() {
  local name=$1 command=$2 package=$3 venv="$tools/$1-venv"
  is_stamped "$command" "$package" && return
  echo "python: $name from $package"
  rm -rf "$venv" # of another version, or of a run that was killed
  {
    python3 -m venv "$venv" &&
      "$venv/bin/pip" install --quiet --no-input --disable-pip-version-check "$package"
  } >"$tools/$name.log" 2>&1 || fail "$name could not be installed: $(tail -5 "$tools/$name.log")"
  ln -s "$venv/bin/$command" "$work/$command"
  put_in_place "$work/$command" "$command" "$package"
}

# A root file system that the image builder cuts into layers.
debian_rootfs() {
  local rootfs="$tools/debian-rootfs"
  [ -e "$rootfs/.complete" ] && return
  need_root "debootstrap makes device files"
  echo "debootstrap: bookworm minbase"
  rm -rf "$rootfs"
  debootstrap --variant=minbase bookworm "$rootfs" >"$tools/debootstrap.log" 2>&1 ||
    fail "debootstrap failed: $(tail -5 "$tools/debootstrap.log")"
  rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/*
  touch "$rootfs/.complete"
}

install_apt
go_tool crane github.com/google/go-containerregistry/cmd/crane@v0.22.1
go_tool regctl github.com/regclient/regclient/cmd/regctl@v0.11.7
go_tool distribution-3 github.com/distribution/distribution/v3/cmd/registry@v3.0.0
go_tool containerd-2 github.com/containerd/containerd/v2/cmd/containerd@v2.4.2
go_tool ctr-2 github.com/containerd/containerd/v2/cmd/ctr@v2.4.2
go_tool ecr-credential-provider k8s.io/cloud-provider-aws/cmd/ecr-credential-provider@v1.33.0
go_tool cosign github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
go_tool versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
module_tool oras oras.land/oras v1.2.3 oras.land/oras/cmd/oras
module_tool notation github.com/notaryproject/notation v1.3.2 github.com/notaryproject/notation/cmd/notation
module_tool referrers-registry github.com/google/go-containerregistry v0.22.1 \
  "$here/../test/support/referrers-registry.go"
# Pulls as the kubelet does.
module_tool cri-pull k8s.io/cri-api v0.33.0 "$here/../test/support/login-cri-pull.go"
python_tool moto moto_server 'moto[server]==5.2.5' # AWS's APIs, for who asks them for log-ins
debian_rootfs
echo "tools: $bin"
