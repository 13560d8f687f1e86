#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The benchmarks of building and booting. Prints a table for docs/benchmarks.md; nothing here
# passes or fails. Run it on a machine that does nothing else: `make bench`.
#
#   tests/bench/run.sh [builds|boots ...]     without a name: builds and boots
set -euo pipefail
for need in /usr/bin/time python3; do
    command -v "$need" >/dev/null || { echo "$need is missing: apt-get install time python3" >&2; exit 1; }
done
domus=${DOMUS_BIN:-target/dist/bin/domus}
domus=$(realpath "$domus")
runs=${RUNS:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fleet=$work/example
"$domus" init "$fleet" --name example >/dev/null
cd "$fleet"

# measure LABEL COMMAND…: median, least and most seconds of $runs runs; CPU seconds and the
# largest process of the last one.
measure() {
    local label=$1
    shift
    : >"$work/times"
    for _ in $(seq "$runs"); do
        /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" >/dev/null
        cat "$work/time" >>"$work/times"
    done
    sort -n "$work/times" | awk -v label="$label" '
        { wall[NR] = $1; cpu = $2 + $3; rss = ($4 > rss) ? $4 : rss }
        END { printf "| %s | %.2f s | %.2f-%.2f s | %.1f s | %d MiB | %d |\n",
              label, wall[int((NR + 1) / 2)], wall[1], wall[NR], cpu, rss / 1024, NR }'
}

builds() {
    echo '| what | median | range | CPU, last run | largest process | runs |'
    echo '|---|---|---|---|---|---|'
    "$domus" image build base >/dev/null
    "$domus" iso build --unsigned >/dev/null
    measure 'image build, nothing changed' "$domus" image build base
    measure 'iso build, nothing changed' "$domus" iso build --unsigned
    measure 'iso verify' "$domus" iso verify build/*.iso
    runs=1
    cold() {
        rm -rf "$work/cache" build
        DOMUS_CACHE=$work/cache "$domus" "$@"
    }
    export -f cold
    export work domus
    measure 'image build, cold (tool root included)' bash -c 'cold image build base'
    measure 'iso build, cold (tool root included)' bash -c 'cold iso build --unsigned'
    local iso root
    iso=$(stat -c %s build/*.iso)
    root=$("$domus" iso verify --json build/*.iso |
        python3 -c 'import json,sys; print(json.load(sys.stdin)["files"]["DOMUS/ROOT.IMG"]["size"])')
    echo
    echo "ISO: $((iso >> 20)) MiB, its root image $((root >> 20)) MiB."
}

# boot LABEL OPTIONS…: the timeline of one rehearsal after another, medians.
boot() {
    local label=$1
    shift
    : >"$work/boots"
    for _ in $(seq "$boots"); do
        "$domus" rehearse alpha --json --timeout 600 "$@" >"$work/rehearsal.json" || true
        python3 - "$work/rehearsal.json" >>"$work/boots" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
t = {}
for e in r["timeline"]:
    t[e["event"]] = e["seconds"]
if not r["ok"]:
    domus = [(d["name"], d["state"], d.get("reason")) for d in r["domus"]]
    print("failed:", r["reason"], domus, file=sys.stderr)
print(r["ok"], r["accelerator"], *(t.get(k, "-") for k in
      ("xen", "dom0-kernel", "config-mounted", "systemd", "domu-created", "domu-up")))
PY
    done
    awk -v label="$label" '{ print "| " label " | " $1 " | " $2 " | " $3 " | " $4 " | " $5 " | " $6 " | " $7 " | " $8 " |" }' "$work/boots"
}

# The fleet on 640 MiB in all, of which Xen takes some 60.
small() {
    sed -i 's/^memory = "384MiB"/memory = "288MiB"/' pservers/alpha/host.toml
    sed -i 's/"192MiB"/"144MiB"/' pservers/alpha/domUs/web.toml
    sed -i 's/"160MiB"/"128MiB"/' pservers/alpha/domUs/db.toml
    git commit -qam 'a small host'
}

boots() {
    local boots=${BOOTS:-3}
    "$domus" image build base >/dev/null
    "$domus" iso build --unsigned >/dev/null
    echo '| boot | all up | by | xen | dom0 kernel | config | systemd | last created | last up |'
    echo '|---|---|---|---|---|---|---|---|---|'
    boot 'BIOS, CD'
    boot 'UEFI, USB' --uefi
    small
    boot 'BIOS, CD, 640 MiB in all' --memory 640
}

if [ $# = 0 ]; then set -- builds boots; fi
for name; do
    case $name in
        builds | boots) "$name" ;;
        *) echo "there is no benchmark $name" >&2; exit 1 ;;
    esac
    echo
done
