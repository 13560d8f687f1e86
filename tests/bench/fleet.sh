#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The benchmarks of a large fleet: proving a commit beside the floors that git and a parser set, proving
# and planning after one changed file, pulling one commit on one host over ssh and over https. Prints tables for
# docs/benchmarks.md; nothing here passes or fails. Run it on a machine that does nothing else.
#
#   tests/bench/fleet.sh [HOSTS]     without a number: 10000 hosts, ten domUs each
set -euo pipefail
hosts=${1:-10000}
domus=$(realpath "${DOMUS_BIN:-target/dist/bin/domus}")
agent=$(realpath "${DOMUS_BIN:-target/dist/bin/domus}")
agent=${agent%/bin/domus}/lib/domus/domus-dom0
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
servers=
trap '[ -z "$servers" ] || kill $servers; rm -rf "$work"' EXIT
fleet=$work/fleet

echo "# $hosts hosts"
python3 "$here/generate-fleet.py" "$fleet" "$hosts" >/dev/null
git -C "$fleet" ls-tree -r HEAD | awk '$2 == "blob" { print $3 }' >"$work/blobs"

# measure LABEL SCRIPT [LABEL SCRIPT]…: five rounds, in each of which every script has its turn; the
# medians, and the largest memory of each. Of three the first two are floors, and the third is
# compared with their sum, round by round.
measure() {
    local round number
    rm -f "$work"/times.*
    for round in 1 2 3 4 5; do
        for ((number = 2; number <= $#; number += 2)); do
            /usr/bin/time -a -o "$work/times.$number" -f '%e %U %S %M' bash -c "${!number}" \
                >/dev/null 2>"$work/errors" || { cat "$work/errors"; exit 1; }
        done
    done
    for ((number = 1; number < $#; number += 2)); do
        sort -n "$work/times.$((number + 1))" | awk -v label="${!number}" '
            { wall[NR] = $1; cpu[NR] = $2 + $3; rss = ($4 > rss) ? $4 : rss }
            END { printf "| %s | %.2f | %.2f-%.2f | %.2f | %d MiB |\n",
                  label, wall[3], wall[1], wall[5], cpu[3], rss / 1024 }'
    done
    [ $# = 6 ] || return 0
    paste -d' ' "$work/times.2" "$work/times.4" "$work/times.6" |
        awk '{ printf "%.3f\n", $9 / ($1 + $5) }' | sort -n |
        awk '{ ratio[NR] = $1 } END { printf "| of the sum of the two floors | %s | %s-%s | | |\n",
              ratio[3], ratio[1], ratio[5] }'
}

# change REPO HOST MEMORY: a commit on HEAD in which the first domU of the host has so much.
change() {
    local in=(git -C "$1" -c user.name=bench -c user.email=bench@example.net) path name domu id
    domu=$("${in[@]}" ls-tree --name-only "HEAD:pservers/$2/domUs" | head -1)
    id=$("${in[@]}" show "HEAD:pservers/$2/domUs/$domu" | sed "s/^memory = .*/memory = \"$3\"/" |
        "${in[@]}" hash-object -w --stdin)
    for name in "pservers/$2/domUs/$domu" "pservers/$2/domUs" "pservers/$2" pservers; do
        path=HEAD:$(dirname "/$name" | cut -c2-)
        id=$("${in[@]}" ls-tree "$path" | awk -F'\t' -v name="$(basename "$name")" -v id="$id" '
            $2 == name { split($1, was, " "); $0 = was[1] " " was[2] " " id "\t" name } { print }' |
            "${in[@]}" mktree)
    done
    "${in[@]}" update-ref HEAD "$("${in[@]}" commit-tree -p HEAD -m 'one file' "$id")"
}

echo '| what | seconds | range | CPU seconds | memory |'
echo '|---|---|---|---|---|'
measure '`git cat-file --batch --buffer`' \
    "exec git -C '$fleet' cat-file --batch --buffer <'$work/blobs'" \
    '`json.loads`, line by line' "exec python3 -c 'if True:
        import json
        for line in open(\"$fleet.json\"): json.loads(line)'" \
    '`domus check --at HEAD`, no index' \
    "rm -rf '$fleet/.git/domus'; exec '$domus' check '$fleet' --at HEAD"

# One file more: the index is the one that the last check left.
host=$(git -C "$fleet" ls-tree --name-only HEAD:pservers | sed -n "$((hosts / 2))p")
change "$fleet" "$host" 640MiB
measure '`domus check --at HEAD`, one file changed' "exec '$domus' check '$fleet' --at HEAD" \
    '`domus plan HOST`, one file changed' \
    "'$domus' plan '$host' --from HEAD~1 --to HEAD -C '$fleet' || [ \$? = 2 ]"

# A host that was booted on the commit, and one commit more on the server.
root=$work/root
mkdir -p "$root/run/domus/slice" "$root/config"
git clone -q --bare "$fleet" "$work/server.git"
git clone -q --bare "$fleet" "$root/config/repo.git"
# As a medium has it: what it came with is never packed anew.
for pack in "$root/config/repo.git/objects/pack/"*.pack; do touch "${pack%.pack}.keep"; done
first=$(git -C "$fleet" rev-parse HEAD)
git -C "$root/config/repo.git" update-ref refs/domus/running "$first"
git -C "$fleet" archive HEAD domus.toml images "pservers/$host" | tar -x -C "$root/run/domus/slice"

# An SSH server on loopback, as in the agent's tests (`make setup-tests`; as root). A file:// URL
# would count what a server does: libgit2 packs in the same process then.
server=$(realpath "$here/../../target/sshd")
port=22022
ssh-keygen -q -t ed25519 -N '' -f "$work/server-key"
mkdir -p "$root/config/state/ssh"
ssh-keygen -q -t ed25519 -N '' -f "$root/config/state/ssh/ssh_host_ed25519_key"
echo "command=\"git shell -c \\\"\$SSH_ORIGINAL_COMMAND\\\"\" \
$(cat "$root/config/state/ssh/ssh_host_ed25519_key.pub")" | tr -d '\n' >"$work/authorized"
{ cat /etc/passwd; echo 'sshd:x:109:65534::/run/sshd:/usr/sbin/nologin'; } >"$work/passwd"
chmod 755 "$work"
LD_LIBRARY_PATH=$(dirname "$(find "$server/usr/lib" -name 'libwrap.so*' | head -1)") \
    unshare --mount sh -c "mount --bind '$work/passwd' /etc/passwd; mkdir -p /run/sshd
        exec '$server/usr/sbin/sshd' -D -e -f /dev/null -p $port -h '$work/server-key' \
            -o ListenAddress=127.0.0.1 -o AuthorizedKeysFile='$work/authorized' -o StrictModes=no \
            -o UsePAM=no -o PidFile=none -o PermitRootLogin=forced-commands-only" 2>"$work/sshd.log" &
servers=$!
sleep 1
printf '\n[config]\nremote = "ssh://root@127.0.0.1:%s%s"\nfollow = "%s"\nhost-key = "%s"\n' \
    "$port" "$work/server.git" "$(git -C "$fleet" symbolic-ref --short HEAD)" \
    "$(cut -d' ' -f1,2 "$work/server-key.pub")" >>"$root/run/domus/slice/domus.toml"
printf '{"name":"%s","commit":"%s","statement":{"id":"%s"},"release":{"fleet":"%s","version":"1","unsigned":true}}' \
    "$host" "$first" "$first" "$(sed -n 's/^fleet *= *"\(.*\)"/\1/p' "$root/run/domus/slice/domus.toml")" \
    >"$root/run/domus/boot.json"
change "$work/server.git" "$host" 768MiB
# pull OVER: the agent takes what the server has.
pull() {
    /usr/bin/time -o "$work/times" -f "| \`domus-dom0 pull\` of one commit over $1 | %e | | %U + %S | %M KiB |" \
        env DOMUS_ROOT="$root" SSL_CERT_FILE="$work/tls.pem" "$agent" pull --no-apply >"$work/said" 2>&1 ||
        { cat "$work/said" "$work"/*.log; exit 1; }
    cat "$work/times"
    if [ "$(git -C "$root/config/repo.git" rev-parse refs/domus/running)" != \
        "$(git -C "$work/server.git" rev-parse HEAD)" ]; then
        echo 'the pull took no commit:' && cat "$work/said"
        exit 1
    fi
}
pull ssh

openssl req -x509 -nodes -newkey rsa:2048 -days 2 -subj /CN=bench -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/tls.key" -out "$work/tls.pem" 2>/dev/null
python3 "$here/../../dom0/agent/tests/server/https.py" "$work" "$work/tls.pem" "$work/tls.key" "$work/port" \
    2>"$work/https.log" &
servers="$servers $!"
for _ in $(seq 100); do [ -e "$work/port" ] || sleep 0.1; done
sed -i "s|^remote = .*|remote = \"https://127.0.0.1:$(cat "$work/port")/server.git\"|; /^host-key/d" \
    "$root/run/domus/slice/domus.toml"
change "$work/server.git" "$host" 896MiB
pull https
