#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Domus beside live-build: a cold build of each, a rebuild with one more package of dom0, and power-on to the last
# domU, with the same two domUs in the same emulated machine. live-build's dom0 has xen-system, xendomains and Xen's
# stock hotplug scripts (peer/live-build), and leaves out what live-build can leave out. Prints tables
# for docs/benchmarks.md; nothing here passes or fails. Takes an hour and more, as root: `make bench-peer`.
#
#   tests/bench/peer.sh [cold|boots|rebuild ...]     without a name: all three
#
# RUNS       boots of each (3), in turns
# KIND       of the domUs (pv; the template has one pvh, which QEMU 7.2 kills now and then)
# PACKAGES   one rebuild of each for every one of these packages ("htop tree")
# PEER_WORK  where all is kept (target/peer): `rebuild` and `boots` take the builds that are there
# MIRROR, MIRROR_SECURITY   Debian mirrors for both (none: each one's own)
# BOOT_LOCK, TIMEOUT        see peer/power-on.py
set -euo pipefail
missing=
for need in /usr/bin/time:time python3:python3 lb:live-build debootstrap:debootstrap xorriso:xorriso \
    mksquashfs:squashfs-tools mkfs.ext4:e2fsprogs qemu-system-x86_64:qemu-system-x86; do
    command -v "${need%:*}" >/dev/null || missing+=" ${need#*:}"
done
[ -z "$missing" ] || { echo "missing: apt-get install$missing" >&2; exit 1; }
here=$(dirname "$(realpath "$0")")/peer
DOMUS_BIN=$(realpath "${DOMUS_BIN:-target/dist/bin/domus}")
work=$(realpath -m "${PEER_WORK:-target/peer}")
export DOMUS_BIN DOMUS_CACHE=$work/cache
[ -z "${MIRROR:-}" ] || export DOMUS_MIRROR=$MIRROR
mkdir -p "$work"

# timed LABEL COMMAND…: a row with its seconds, those of processors, and the largest process.
timed() {
    local label=$1
    shift
    /usr/bin/time -o "$work/time" -f "| $label | %e | %U + %S | %M KiB |" "$@" >"$work/log" 2>&1 ||
        { tail -30 "$work/log" >&2; exit 1; }
    cat "$work/time"
}

# live-build keeps its packages and its first stage by itself. What it mounts ends with its mount namespace, however
# it ends.
lb_build() {
    cd "$work/lb"
    # With what was configured before: without it, there is no build after cleaning.
    lb clean
    lb config
    unshare --mount --propagation private lb build
}
export -f lb_build
export work

cold() {
    rm -rf --one-file-system "$work/fleet" "$work/lb" "$work/cache"
    "$DOMUS_BIN" init "$work/fleet" --name example >/dev/null
    sed -i "s/^\(kind *= \).*/\1\"${KIND:-pv}\"/" "$work/fleet/domus.toml"
    mkdir "$work/lb"
    cp -a "$here/live-build/config" "$work/lb"
    local mirrors=()
    [ -z "${MIRROR:-}" ] || mirrors+=(--mirror-bootstrap "$MIRROR" --mirror-binary "$MIRROR")
    [ -z "${MIRROR_SECURITY:-}" ] || mirrors+=(--mirror-chroot-security "$MIRROR_SECURITY"
        --mirror-binary-security "$MIRROR_SECURITY")
    (cd "$work/lb" && lb config "${mirrors[@]}" --distribution trixie --archive-areas main \
        --apt-recommends false --apt-source-archives false --firmware-chroot false --debian-installer none \
        --memtest none --bootloaders grub-pc,grub-efi --chroot-squashfs-compression-type zstd \
        --bootappend-live 'boot=live components quiet console=hvc0 loglevel=6' >/dev/null)
    # The domUs' images are no part of live-build's work: Domus' own are taken.
    echo '| cold build | seconds | CPU seconds | largest process |'
    echo '|---|---|---|---|'
    timed 'Domus: domU image' "$DOMUS_BIN" image build base -C "$work/fleet"
    timed 'Domus: ISO' "$DOMUS_BIN" iso build --unsigned -C "$work/fleet"
    python3 "$here/local-disk.py" "$work/fleet" alpha "$work/lb" "$work/live-build.disk"
    timed 'live-build: ISO' bash -ec lb_build
    du -h --apparent-size "$work"/fleet/build/*.iso "$work"/lb/*.iso
}

# One more package of dom0 at a time: both build what they can build, with all that they kept.
rebuild() {
    echo '| one more package | seconds | CPU seconds | largest process |'
    echo '|---|---|---|---|'
    local package all=
    for package in ${PACKAGES:-htop tree}; do
        all+="${all:+, }\"$package\""
        sed -i "s/^\(# \)\?packages  *=.*/packages = [$all]/" "$work/fleet/domus.toml"
        timed "Domus: $package" "$DOMUS_BIN" iso build --unsigned --relock -C "$work/fleet"
        echo "$package" >>"$work/lb/config/package-lists/dom0.list.chroot"
        timed "live-build: $package" bash -ec lb_build
    done
}

boots() {
    cp "$work"/fleet/build/*.iso "$work/domus.iso"
    cp "$work"/lb/*.iso "$work/live-build.iso"
    # The arguments of QEMU that a rehearsal has: what stands in for QEMU writes them down.
    mkdir -p "$work/bin" "$work/rehearsal"
    cat >"$work/bin/qemu-system-x86_64" <<PY
#!/usr/bin/env python3
import json, sys
json.dump(sys.argv[1:], open("$work/rehearsal/qemu-arguments.json", "w"))
PY
    chmod +x "$work/bin/qemu-system-x86_64"
    (cd "$work/fleet" && git add -A && git -c user.name=bench -c user.email=bench@example.net \
        -c commit.gpgsign=false commit -qm 'image and release' || true)
    PATH=$work/bin:$PATH "$DOMUS_BIN" rehearse alpha -C "$work/fleet" --iso "$work/domus.iso" --accelerator tcg \
        --memory 2048 --output "$work/rehearsal" >/dev/null 2>&1 || true
    mv "$work/rehearsal/config-disk.img" "$work/domus.disk"
    python3 "$here/power-on.py" "${RUNS:-3}" "$work"
}

if [ $# = 0 ]; then set -- cold boots rebuild; fi
for name; do
    case $name in
        cold | rebuild | boots) "$name" ;;
        *) echo "there is no benchmark $name" >&2; exit 1 ;;
    esac
    echo
done
