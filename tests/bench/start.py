#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domus' own way to start domUs beside Xen's and libvirt's, in one dom0 and in turns: the same kernel, image,
configuration, card and memory of each domU. One is up when its guest's user space uses its root; the image's init
sleeps then, as a systemd that nobody measures would keep the emulated processors from those who start the next. The peers have
the scripts `block` and `vif-bridge` of Debian's package; nothing of Domus runs while they do. Prints tables for
docs/benchmarks.md; nothing here passes or fails.

usage: start.py DOMUS DIRECTORY [COUNT [ROUNDS [WAYS]]]

COUNT of domUs in a round (8), ROUNDS of all WAYS (3), and which: of domus,xl,xl-parallel,virsh,virsh-parallel,slope
and requests, which is not timed. DIRECTORY keeps the built fleet, and the logs. As root, emulated without KVM; an
hour and more.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET

MEMORY = 96
# Emulated guests are slow; a way that has not brought all up by then has not brought them up.
PATIENCE = 900
WAYS = ["domus", "xl", "xl-parallel", "virsh", "virsh-parallel", "slope", "requests"]
SCRIPTS = ["block", "vif-bridge"]
IMAGE = "base@1"
# What its root starts.
IDLE = r"""commands = [
    "printf '#!/bin/sh\\nexec sleep infinity\\n' >/usr/local/sbin/idle && chmod 755 /usr/local/sbin/idle",
    "ln -sf /usr/local/sbin/idle /sbin/init",
]
"""
HERE = "/run/bench"
# In libvirt's XML: where the loop devices of the root and of the configuration go.
MARKS = ["@root@", "@config@"]
VIRSH = "virsh -q -c xen:///system"


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def fleet(domus, directory, names, requests):
    """Makes and builds what is booted, if it is not there."""
    where = f"{directory}/fleet-{len(names)}"
    if not os.path.exists(f"{directory}/key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/key")
    if not os.path.exists(where):
        key = ["--ssh-key", f"{directory}/key.pub"]
        run(domus, "init", where, "--name", "example", *key, stdout=subprocess.DEVNULL)
        host = f"{where}/pservers/alpha"
        for name in os.listdir(f"{host}/domUs"):
            os.remove(f"{host}/domUs/{name}")
        run("rm", "-rf", f"{where}/vservers")
        for number, name in enumerate(names):
            with open(f"{host}/domUs/{name}.toml", "w") as file:
                file.write(
                    f'version = 1\nkind = "pv"\nimage = "{IMAGE}"\nmemory = "{MEMORY}MiB"\nautostart = false\n'
                    f'\n[[network]]\nbridge = "lan"\nmac = "00:16:3e:00:00:{number:02x}"\n'
                )
        with open(f"{host}/host.toml") as file:
            text = file.read()
        with open(f"{host}/host.toml", "w") as file:
            file.write(text.replace('"2GiB"', f'"{1024 + (MEMORY + 24) * len(names)}MiB"'))
        with open(f"{where}/images/base.toml", "a") as file:
            file.write(IDLE)
        run(domus, "image", "build", "base", cwd=where)
        run(domus, "iso", "build", "--unsigned", cwd=where)
    conf = f"{where}/global/etc/xen/oxenstored.conf"
    if requests:
        os.makedirs(os.path.dirname(conf), exist_ok=True)
        with open(conf, "w") as file:
            file.write(OXENSTORED)
    elif os.path.exists(conf):
        os.remove(conf)
    run("git", "add", "-A", cwd=where)
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.net", "-c", "commit.gpgsign=false"]
    run(*git, "commit", "-q", "--allow-empty", "-m", "bench", cwd=where)
    return where


class Dom0:
    """A machine that runs, and a shell there."""

    def __init__(self, domus, where, directory):
        self.directory = directory
        self.report = f"{directory}/rehearsal.json"
        command = [domus, "rehearse", "alpha", "--json", "--keep", "--accelerator", "tcg", "--timeout", str(PATIENCE)]
        with open(self.report, "w") as out, open(f"{directory}/rehearsal.log", "w") as err:
            self.process = subprocess.Popen(
                [*command, "--output", f"{directory}/rehearsal"], cwd=where, stdout=out, stderr=err, text=True
            )
        report = None
        while report is None:
            if self.process.poll() is not None:
                sys.exit(open(f"{directory}/rehearsal.log").read())
            time.sleep(0.5)
            try:
                report = json.load(open(self.report))
            except ValueError:
                continue
        options = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
                   "ControlMaster": "auto", "ControlPersist": "yes", "ControlPath": f"{directory}/ssh"}
        self.ssh = ["ssh", "-p", str(report["ssh_port"]), "-i", f"{directory}/key"]
        for name, value in options.items():
            self.ssh += ["-o", f"{name}={value}"]
        self.ssh.append("root@127.0.0.1")
        for _ in range(30):
            if self.run("true", check=False).returncode == 0:
                return
            time.sleep(2)
        sys.exit("no SSH")

    def run(self, command, check=True, text=None):
        ran = subprocess.run([*self.ssh, command], input=text, capture_output=True, text=True, timeout=PATIENCE)
        if check and ran.returncode != 0:
            sys.exit(f"{command}: {ran.stdout}{ran.stderr}")
        return ran

    def says(self, command):
        return self.run(command).stdout

    def end(self):
        subprocess.run([*self.ssh, "-O", "exit"], capture_output=True)
        self.process.terminate()
        self.process.wait()


class Watch:
    """When domains are up: the user space of their guests uses their first disk. What comes after that is the guest's
    own, and the same whoever started it."""

    def __init__(self, dom0):
        self.seen = {}
        watch = (
            "xenstore-watch /local/domain | grep --line-buffered -E '/device/vbd/51712/state$' | while read path; do "
            '[ "$(xenstore-read $path 2>/dev/null)" != 4 ] || echo $path; done'
        )
        self.process = subprocess.Popen([*dom0.ssh, watch], stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.seen.setdefault(line.split("/")[3], time.monotonic())

    def wait(self, count, until):
        while len(self.seen) < count and time.monotonic() < until:
            time.sleep(0.05)
        return sorted(self.seen.values())


def prepare(dom0, names):
    """Leaves in dom0 what the peers need, made from the very domUs of Domus: it starts each once."""
    dom0.run(f"mkdir -p {HERE}")
    for name in names:
        dom0.run(f"domus-dom0 start {name}")
        xml = ET.fromstring(dom0.says(f"{VIRSH} dumpxml {name}"))
        kernel, initrd, extra = (xml.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline"))
        disks = []
        for disk in xml.iter("disk"):
            device, target = disk.find("source").get("dev"), disk.find("target").get("dev")
            file = f"/config/images/{IMAGE}/root.img"
            if disks:
                file = f"{HERE}/{name}.config"
                dom0.run(f"cp --sparse=always {device} {file}")
            disks.append((file, target))
        mac = xml.find("devices/interface/mac").get("address")
        lines = [f'name = "{name}"', 'type = "pv"', f"memory = {MEMORY}", "vcpus = 1", f'kernel = "{kernel}"',
                 f'ramdisk = "{initrd}"', f'extra = "{extra}"', 'tsc_mode = "native"', f'vif = ["mac={mac},bridge=lan"]']
        targets = ", ".join(f'"format=raw,vdev={target},access=ro,target={file}"' for file, target in disks)
        dom0.run(f"cat >{HERE}/{name}.cfg", text="\n".join([*lines, f"disk = [{targets}]"]) + "\n")
        xml = f"""<domain type='xen'><name>{name}</name><memory unit='MiB'>{MEMORY}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>{extra}</cmdline></os><clock offset='utc'><timer name='tsc' mode='native'/></clock><devices>
""" + "".join(
            f"<disk type='block' device='disk'><driver name='phy' type='raw'/><source dev='{mark}'/>"
            f"<target dev='{target}' bus='xen'/><readonly/></disk>\n" for mark, (_, target) in zip(MARKS, disks)
        ) + f"""<interface type='bridge'><source bridge='lan'/><mac address='{mac}'/><script path='vif-bridge'/></interface>
<console type='pty'><target type='xen'/></console></devices></domain>
"""
        dom0.run(f"cat >{HERE}/{name}.xml", text=xml)
        # Before its guest has got far.
        stop(dom0)


def stop(dom0):
    """All domains and their loop devices go, whoever made them."""
    dom0.run("domus-dom0 stop --all --strays --force --timeout 1", check=False)
    dom0.run("xl list | awk 'NR > 1 && $2 { print $2 }' | xargs -r -n1 xl destroy; sleep 2; losetup -D", check=False)


def scripts(dom0, stock):
    """Puts the scripts of Debian's package in place, or Domus' program."""
    for script in SCRIPTS:
        path = f"/etc/xen/scripts/{script}"
        if stock:
            dom0.run(f"rm -f {path}; cp {HERE}/{script} {path}; chmod 755 {path}")
        else:
            dom0.run(f"ln -sf /usr/lib/domus/domus-hotplug {path}")
    verb = "stop" if stock else "start"
    dom0.run(f"systemctl {verb} domus-dom0 domus-events")


def command(way, names):
    listed = " ".join(names)
    return {
        "domus": f"domus-dom0 start {listed}",
        "xl": f"for n in {listed}; do xl create -q {HERE}/$n.cfg || s=1; done; exit $s",
        "xl-parallel": f"printf '%s\\n' {listed} | xargs -P{len(names)} -I% xl create -q {HERE}/%.cfg",
        "virsh": f"for n in {listed}; do {VIRSH} create {HERE}/$n.ready.xml || s=1; done; exit $s",
        "virsh-parallel": f"printf '%s\\n' {listed} | xargs -P{len(names)} -I% {VIRSH} create {HERE}/%.ready.xml",
    }[way]


# libvirt takes no files here: whoever uses it has loop devices before. That is not timed.
LOOPS = f"""root=$(losetup -f --show -r /config/images/{IMAGE}/root.img)
for n in %s; do config=$(losetup -f --show -r {HERE}/$n.config)
sed "s|{MARKS[0]}|$root|; s|{MARKS[1]}|$config|" {HERE}/$n.xml >{HERE}/$n.ready.xml; done"""
COUNTERS = "awk '$1 == \"processes\" { print $2 }' /proc/stat; awk '$1 == \"cpu\" { print $2 + $3 + $4 + $7 + $8 }' /proc/stat"


def measure(dom0, way, names):
    """Seconds until the command ended, and until each was up; processes and processor seconds of dom0 until then."""
    scripts(dom0, way != "domus")
    if way.startswith("virsh"):
        dom0.run(LOOPS % " ".join(names))
    watch = Watch(dom0)
    # What XenStore tells whoever begins to watch, and what is done after a stop.
    time.sleep(5)
    before = [int(word) for word in dom0.says(COUNTERS).split()]
    begin = time.monotonic()
    ran = dom0.run(command(way, names), check=False)
    created = time.monotonic() - begin
    now = [int(word) for word in dom0.says(COUNTERS).split()]
    ups = [at - begin for at in watch.wait(len(names), begin + PATIENCE if ran.returncode == 0 else time.monotonic() + 240)]
    result = {"way": way, "created": round(created, 2), "code": ran.returncode, "ups": [round(up, 2) for up in ups],
              "forks": (now[0] - before[0]) / len(names), "cpu": (now[1] - before[1]) / 100}
    if ran.returncode != 0:
        result["said"] = (ran.stdout + ran.stderr)[-600:]
    watch.process.kill()
    stop(dom0)
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def slope(dom0, names):
    """Seconds of the k-th start while those before run."""
    scripts(dom0, False)
    took = []
    for name in names:
        watch = Watch(dom0)
        time.sleep(5)
        begin = time.monotonic()
        dom0.run(f"domus-dom0 start {name}")
        took.append(round(time.monotonic() - begin, 2))
        # The next one has the processors for itself.
        watch.wait(1, begin + PATIENCE)
        watch.process.kill()
        print(name, took[-1], file=sys.stderr, flush=True)
    stop(dom0)
    return took


OXENSTORED = """access-log-file = /run/xenstored-access.log
access-log-nb-files = 1
access-log-nb-lines = 10000000
access-log-nb-chars = 80
access-log-read-ops = true
access-log-transactions-ops = true
persistent = false
quota-activate = true
xenstored-kva = /proc/xen/xsd_kva
xenstored-port = /proc/xen/xsd_port
pid-file = /run/xen/xenstored.pid
"""


def requests(dom0, names):
    """Requests of dom0's processes to XenStore for each domU, until they are made; another boot, as each
    is written down."""
    table = {}
    for way in ("domus", "xl", "virsh"):
        scripts(dom0, way != "domus")
        if way.startswith("virsh"):
            dom0.run(LOOPS % " ".join(names))
        time.sleep(5)
        # Of sockets: what guests and dom0's own kernel ask has a domain's number instead.
        count = "grep -c ' A[0-9]' /run/xenstored-access.log || true"
        before = int(dom0.says(count))
        dom0.run(command(way, names), check=False)
        table[way] = (int(dom0.says(count)) - before) / len(names)
        stop(dom0)
        print(way, table[way], file=sys.stderr, flush=True)
    return table


def spread(values, form="%.1f"):
    return f"{form % statistics.median(values)} ({form % min(values)}-{form % max(values)})" if values else "-"


def main():
    # So that the machine ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    domus, directory = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    ways = sys.argv[5].split(",") if len(sys.argv) > 5 else WAYS
    os.makedirs(directory, exist_ok=True)
    os.environ.setdefault("DOMUS_CACHE", f"{directory}/cache")
    stock = f"{directory}/stock"
    if not os.path.exists(stock):
        mirror = [os.environ["DOMUS_MIRROR"]] if "DOMUS_MIRROR" in os.environ else []
        run("mmdebstrap", "--quiet", "--variant=extract", "--include=xen-utils-common", "trixie", stock, *mirror)
    names = [f"d{number:02}" for number in range(1, count + 1)]
    timed = [way for way in ways if way not in ("slope", "requests")]
    where = fleet(domus, directory, names, False)
    results = {way: [] for way in timed}
    for counted in ([False] if timed or "slope" in ways else []) + ([True] if "requests" in ways else []):
        fleet(domus, directory, names, counted)
        dom0 = Dom0(domus, where, directory)
        try:
            prepare(dom0, names)
            for script in SCRIPTS:
                dom0.run(f"cat >{HERE}/{script}", text=open(f"{stock}/etc/xen/scripts/{script}").read())
            if counted:
                for way, number in requests(dom0, names).items():
                    print(f"XenStore requests of dom0 for a domU, {way}: {number:.0f}")
                continue
            for _ in range(rounds):
                for way in timed:
                    results[way].append(measure(dom0, way, names))
            if timed:
                print(f"| {count} domUs | created, s | first up, s | all up, s | of {count} up | processes and threads each | dom0, CPU s |")
                print("|---|---|---|---|---|---|---|")
            for way, runs in results.items():
                whole = [one for one in runs if len(one["ups"]) == count]
                print(f"| {way} | {spread([one['created'] for one in runs])} "
                      f"| {spread([one['ups'][0] for one in runs if one['ups']])} "
                      f"| {spread([one['ups'][-1] for one in whole])} "
                      f"| {', '.join(str(len(one['ups'])) for one in runs)} "
                      f"| {spread([one['forks'] for one in runs], '%.0f')} | {spread([one['cpu'] for one in runs])} |")
            for way in timed:
                if "domus" in results and way != "domus":
                    pairs = list(zip(results["domus"], results[way]))
                    up = [peer["ups"][-1] / own["ups"][-1] for own, peer in pairs if len(peer["ups"]) == len(own["ups"]) == count]
                    created = [peer["created"] / own["created"] for own, peer in pairs]
                    print(f"{way} / domus: created {spread(created, '%.2f')}, all up {spread(up, '%.2f')}")
            if "slope" in ways:
                print("k-th start, s:", ", ".join(str(one) for one in slope(dom0, names)))
        finally:
            dom0.end()


main()
