#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The demo: a fleet from the template, its image, its ISO, and a boot of exactly these.
set -euo pipefail
fleet=$1/example
domus=${DOMUS_BIN:-domus}

say() { printf '\n== %s\n' "$*"; }

mkdir -p "$1"
if [ ! -d "$fleet" ]; then
    say "domus init: a fleet with the host alpha and the domUs web and db"
    [ -f "$1/ssh-key" ] || ssh-keygen -q -t ed25519 -N '' -C 'domus demo' -f "$1/ssh-key"
    "$domus" init "$fleet" --ssh-key "$1/ssh-key.pub"
fi
cd "$fleet"
say "domus check: the fleet, proved"
"$domus" check
say "domus image build base: the image that both domUs start from (about a minute the first time)"
# A demo is built again by a changed Domus: what its names stand for is replaced.
"$domus" image build base --relock
say "domus iso build: the dom0 ISO (one to two minutes the first time)"
"$domus" iso build --unsigned --relock
"$domus" iso verify build/*.iso
say "git commit: what the names of this image and this release stand for"
git add domus.lock locked
git diff --cached --quiet ||
    git -c user.name=demo -c user.email=demo@localhost -c commit.gpgsign=false \
        commit --quiet --message 'image and release'
git log --oneline -1
say "domus rehearse alpha: this ISO and this commit, booted in QEMU (two to three minutes when emulated)"
"$domus" rehearse alpha --timeout 600
