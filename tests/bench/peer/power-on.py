#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""From power-on to the last domU, in turns: Domus' medium, then the peer's, ROUNDS times, in the machine that
`domus rehearse` would start. Both have the same QEMU arguments, but for the medium and the local disk. A domU is up
once dom0 sees in XenStore what the guest itself reports there; Domus' agent tells it over its event port, the peer
on its console. What a machine writes to its disk is forgotten.

usage: power-on.py ROUNDS DIRECTORY [domus|live-build]     with a name: that one alone

DIRECTORY is what peer.sh makes: domus.iso, domus.disk, live-build.iso, live-build.disk, and QEMU's arguments of a
rehearsal in rehearsal/. It gets the logs of the last boot of each.
BOOT_LOCK: a file that is locked while a machine runs, where others start some, too.
TIMEOUT: longest time of a boot, in seconds (900).
"""

import fcntl
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

STAGES = ["xen", "dom0 kernel", "systemd", "xenstored", "first created", "last created", "first up", "last up"]
CONSOLE = {
    "xen": rb"\(XEN\) Xen version ",
    "dom0 kernel": rb"\] Linux version ",
    # Each of these two is said by one side alone.
    "systemd": rb"domus: starting systemd",
    "xenstored": rb"bench: xenstored answers",
}
PEER = re.compile(rb"bench: (created|up) (\w+)")


def arguments(line, others, directory):
    """The arguments of QEMU with other files, and a socket to ask what was read."""
    changed = []
    for argument in line:
        for one, other in others:
            argument = argument.replace(one, other)
        if argument.startswith("if=none,id=disk"):
            argument += ",snapshot=on"
        # Nobody uses the way to dom0's SSH.
        changed.append(re.sub(r",hostfwd=[^,]*", "", argument))
    return changed + ["-qmp", f"unix:{directory}/qmp.sock,server=on,wait=off"]


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def sightings(directory):
    """The stages that logs show, and the domUs that are created and up."""
    console = read(f"{directory}/serial.log")
    stages = {name for name, sign in CONSOLE.items() if re.search(sign, console)}
    domus = {"created": set(), "up": set()}
    for what, name in PEER.findall(console):
        domus[what.decode()].add(name.decode())
    for line in read(f"{directory}/events.jsonl").splitlines():
        try:
            word = json.loads(line)
        except ValueError:
            continue
        for domu in word.get("domus", []):
            if domu["domain"] is not None:
                domus["created"].add(domu["name"])
            if domu["state"] == "up":
                domus["up"].add(domu["name"])
    for what, names in domus.items():
        stages |= {f"{rank} {what}" for rank, least in (("first", 1), ("last", 2)) if len(names) >= least}
    return stages


def blockstats(path):
    """Bytes and requests that medium and disk were read."""
    with socket.socket(socket.AF_UNIX) as qmp:
        qmp.connect(path)
        stream = qmp.makefile("rw")
        stream.readline()
        answer = None
        for command in ("qmp_capabilities", "query-blockstats"):
            stream.write(json.dumps({"execute": command}) + "\n")
            stream.flush()
            answer = {}
            while "return" not in answer:
                answer = json.loads(stream.readline())
    read = {}
    for one in answer["return"]:
        stats = one["stats"]
        if one["device"] in ("iso", "disk0"):
            read[one["device"]] = [stats["rd_bytes"], stats["rd_operations"]]
    return read


def processor(pid):
    """Seconds of processor time that a process took: on a machine with other work they say more than the clock."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def boot(line, directory):
    """Boots one machine; for each stage seconds since power-on and those of processors, and what was read."""
    os.makedirs(directory, exist_ok=True)
    for name in ("serial.log", "events.jsonl"):
        if os.path.exists(f"{directory}/{name}"):
            os.remove(f"{directory}/{name}")
    timeout = float(os.environ.get("TIMEOUT", 900))
    seen = {}
    with open(os.environ.get("BOOT_LOCK", f"{directory}/lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begin = time.monotonic()
        machine = subprocess.Popen(["qemu-system-x86_64", *line], stdin=subprocess.DEVNULL)
        try:
            while "last up" not in seen:
                elapsed = time.monotonic() - begin
                for stage in sightings(directory) - seen.keys():
                    seen[stage] = [round(elapsed, 1), processor(machine.pid)]
                if machine.poll() is not None or elapsed > timeout:
                    break
                time.sleep(0.1)
            stats = blockstats(f"{directory}/qmp.sock") if machine.poll() is None else {}
        finally:
            machine.kill()
            machine.wait()
    return {"seconds": seen, "read": stats}


def spread(values, form):
    return f"{form % statistics.median(values)} ({form % min(values)}-{form % max(values)})"


def row(label, pairs, form):
    """One line: Domus, the peer, and how often the first goes into the second, each a median and its range."""
    cells = []
    for values in zip(*pairs):
        values = [value for value in values if value is not None]
        cells.append(spread(values, form) if values else "-")
    ratios = [peer / own for own, peer in pairs if own and peer]
    cells.append(spread(ratios, "%.2f") if ratios else "-")
    return f"| {label} | {' | '.join(cells)} |"


def table(rounds):
    lines = [f"| {len(rounds)} boots each | Domus | live-build | ratio |", "|---|---|---|---|"]
    for stage in STAGES:
        pairs = [[side["seconds"].get(stage, [None])[0] for side in pair] for pair in rounds]
        lines.append(row(f"{stage}, s", pairs, "%.1f"))
    for stage in ("first created", "last up"):
        pairs = [[side["seconds"].get(stage, [None])[-1] for side in pair] for pair in rounds]
        lines.append(row(f"{stage}, processor seconds of QEMU", pairs, "%.1f"))
    for device, name in (("iso", "medium"), ("disk0", "local disk")):
        for index, (unit, scale, form) in enumerate((("MB", 1e6, "%.1f"), ("requests", 1, "%d"))):
            pairs = [
                [side["read"][device][index] / scale if device in side["read"] else None for side in pair]
                for pair in rounds
            ]
            lines.append(row(f"read from the {name}, {unit}", pairs, form))
    return "\n".join(lines)


def main():
    # So that the machine ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds, directory = int(sys.argv[1]), os.path.realpath(sys.argv[2])
    names = sys.argv[3:] or ["domus", "live-build"]
    with open(f"{directory}/rehearsal/qemu-arguments.json") as file:
        line = json.load(file)
    results = []
    for _ in range(rounds):
        pair = []
        for name in names:
            where = f"{directory}/{name}"
            others = [
                (f"{directory}/domus.iso", f"{where}.iso"),
                (f"{directory}/rehearsal/config-disk.img", f"{where}.disk"),
                (f"{directory}/rehearsal", where),
            ]
            result = boot(arguments(line, others, where), where)
            print(name, json.dumps(result), file=sys.stderr, flush=True)
            pair.append(result)
        results.append(pair)
    if len(names) == 2:
        print(table(results))


main()
