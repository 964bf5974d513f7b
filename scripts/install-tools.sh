#!/usr/bin/env bash
# Installs the real registries and clients that the tests and benches talk to (Debian, as root).
# Idempotent: what is already there costs a look, not a download. Go tools go to $SLUICE_TOOLS/bin,
# which .ci/run puts on PATH.
set -euo pipefail

tools="${SLUICE_TOOLS:-$HOME/.cache/sluice-tools}"
bin="$tools/bin"
mkdir -p "$bin"

apt_packages=(
  containerd          # 1.6: containerd, ctr
  debootstrap         # a Debian root file system for the test images
  docker-registry     # distribution 2.8
  nginx-light         # the bench's peer
  openssl             # the tests' certificate authority
  podman
  prometheus          # prometheus, promtool
  skopeo
  zstd
)

# Debian's package scripts would start the servers: only the binaries are wanted.
no_services() {
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
}

install_apt() {
  local missing=()
  for package in "${apt_packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "apt: ${missing[*]}"
  local had_policy=0
  [ -e /usr/sbin/policy-rc.d ] && had_policy=1
  [ $had_policy -eq 1 ] || no_services
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  [ $had_policy -eq 1 ] || rm -f /usr/sbin/policy-rc.d
}

# go_tool NAME PACKAGE@VERSION [BINARY]: a stamp file names the version that is installed.
go_tool() {
  local name=$1 package=$2 binary=${3:-}
  [ -n "$binary" ] || { binary=${package%@*}; binary=${binary##*/}; }
  local stamp="$tools/stamps/$name"
  [ -x "$bin/$name" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$package" ] && return
  echo "go: $name from $package"
  local out
  out=$(mktemp -d)
  GOBIN="$out" GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install -ldflags='-s -w' "$package"
  mv "$out/$binary" "$bin/$name"
  rmdir "$out"
  mkdir -p "$tools/stamps"
  echo "$package" >"$stamp"
}

# oras has a replace directive that `go install` refuses, so it is built as a requirement of a module.
oras_tool() {
  local version=v1.2.3 stamp="$tools/stamps/oras"
  [ -x "$bin/oras" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && return
  echo "go: oras $version"
  local module
  module=$(mktemp -d)
  (
    cd "$module"
    go mod init sluice.local/oras >/dev/null 2>&1
    go mod edit -require="oras.land/oras@$version"
    cat >tools.go <<'GO'
//go:build tools

package tools

import _ "oras.land/oras/cmd/oras"
GO
    go mod tidy >/dev/null 2>&1
    CGO_ENABLED=0 go build -buildvcs=false -ldflags='-s -w' -o "$bin/oras" oras.land/oras/cmd/oras
  )
  rm -rf "$module"
  mkdir -p "$tools/stamps"
  echo "$version" >"$stamp"
}

# A root file system that the image builder cuts into layers.
debian_rootfs() {
  local rootfs="$tools/debian-rootfs"
  [ -e "$rootfs/.complete" ] && return
  echo "debootstrap: bookworm minbase"
  rm -rf "$rootfs"
  debootstrap --variant=minbase bookworm "$rootfs" >"$tools/debootstrap.log" 2>&1
  rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/*
  touch "$rootfs/.complete"
}

install_apt
go_tool crane github.com/google/go-containerregistry/cmd/crane@v0.22.1
go_tool regctl github.com/regclient/regclient/cmd/regctl@v0.11.7
go_tool distribution-3 github.com/distribution/distribution/v3/cmd/registry@v3.0.0
go_tool containerd-2 github.com/containerd/containerd/v2/cmd/containerd@v2.4.2
go_tool ctr-2 github.com/containerd/containerd/v2/cmd/ctr@v2.4.2
oras_tool
debian_rootfs
echo "tools: $bin"
