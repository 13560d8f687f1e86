#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at all domUs of a host costs where nothing is to be done: `domus-dom0 run` with N domUs
that run in libvirt's test driver, and a XenStore that answers at once. Prints processor and wall
seconds a look, median of ROUNDS.

usage: reconcile.py DOMUS-DOM0 [N [ROUNDS]]
"""

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

COMMIT = "8c1d02e4d1f0c5b9a7e6352413f0e1d2c3b4a596"
DIRECTORY, READ, WATCH, UNWATCH, EVENT, ERROR = 1, 2, 4, 5, 15, 16


class XenStore:
    """READ, DIRECTORY and WATCH of xen/io/xs_wire.h."""

    def __init__(self, path, nodes):
        self.nodes, self.watchers = nodes, set()
        self.children = {}
        for node in nodes:
            parts = node.split("/")
            for at in range(1, len(parts)):
                above = "/".join(parts[:at])
                self.children.setdefault(above, dict())[parts[at]] = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.answer, args=(stream,), daemon=True).start()

    def answer(self, stream):
        file = stream.makefile("rb")
        while head := file.read(16):
            kind, request, transaction, length = struct.unpack("<4I", head)
            path = file.read(length).split(b"\0")[0].decode()
            if kind in (WATCH, UNWATCH):
                self.watchers.add(stream)
                self.send(stream, kind, request, b"OK\0")
            elif kind == READ and path in self.nodes:
                self.send(stream, kind, request, self.nodes[path].encode())
            elif kind == DIRECTORY and path in self.children:
                names = "".join(name + "\0" for name in self.children[path])
                self.send(stream, kind, request, names.encode())
            else:
                self.send(stream, ERROR, request, b"ENOENT\0")

    def send(self, stream, kind, request, payload):
        stream.sendall(struct.pack("<4I", kind, request, 0, len(payload)) + payload)

    def stir(self):
        for stream in self.watchers:
            self.send(stream, EVENT, 0, b"@introduceDomain\0@introduceDomain\0")


def write(root, path, text):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def host(root, count):
    """A host whose domUs all run and are up, and its XenStore."""
    slice_ = "run/domus/slice"
    write(root, f"{slice_}/domus.toml", 'version = 1\nfleet = "example"\n[release]\nversion = "7"\n')
    write(root, f"{slice_}/images/base.toml", "version = 1\nrevision = 1\n")
    write(root, f"{slice_}/global/hosts", "127.0.0.1 localhost\n")
    machine = '[machine]\nserial = "8QXK"\nmemory = "1TiB"\n[dom0]\nmemory = "1GiB"\n'
    write(root, f"{slice_}/pservers/alpha/host.toml", "version = 1\n" + machine)
    record = {
        "name": "alpha",
        "commit": COMMIT,
        "statement": {"id": COMMIT},
        "release": {"fleet": "example", "version": "7", "unsigned": True},
        "release_id": "3f9a0b1c2d3e4f50",
    }
    write(root, "run/domus/boot.json", json.dumps(record))
    report = {
        "version": 1, "kind": "pvh", "memory_mib": 96, "vcpus": 1, "macs": [],
        "image": "base@1", "commit": COMMIT, "root_read_only": True,
    }
    domains, nodes = "", {}
    for index in range(1, count + 1):
        name = f"domu-{index}"
        document = 'version = 1\nimage = "base@1"\nmemory = "96MiB"\n'
        write(root, f"{slice_}/pservers/alpha/domUs/{name}.toml", document)
        domains += (
            f"<domain type='test'><name>{name}</name><uuid>{uuid.uuid4()}</uuid>"
            "<memory unit='MiB'>96</memory><os><type>hvm</type></os></domain>"
        )
        below = f"/local/domain/{index}"
        nodes[f"{below}/name"] = name
        nodes[f"{below}/data/domus/report"] = json.dumps(report)
    write(root, "node.xml", f"<node>{domains}</node>")
    return XenStore(os.path.join(root, "xenstored"), nodes)


def processor(pid):
    """Seconds of processor time that a process took."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quiet(pid, still=0.5):
    """Waits until it has done nothing for a while; returns what it took and when it ended."""
    took, since = processor(pid), time.monotonic()
    while time.monotonic() - since < still:
        time.sleep(0.01)
        now = processor(pid)
        if now != took:
            took, since = now, time.monotonic()
    return took, since


def main():
    agent = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    looks = 20
    with tempfile.TemporaryDirectory() as root:
        store = host(root, count)
        environment = os.environ | {
            "DOMUS_ROOT": root,
            "DOMUS_LIBVIRT_URI": f"test://{root}/node.xml",
            "XENSTORED_PATH": f"{root}/xenstored",
        }
        keeper = subprocess.Popen([agent, "run"], env=environment, stderr=subprocess.DEVNULL)
        try:
            quiet(keeper.pid, 3)
            results = []
            for _ in range(rounds):
                before = processor(keeper.pid)
                for _ in range(looks):
                    store.stir()
                    # Longer than what it looks at once, and than a look.
                    time.sleep(0.25)
                took, _ = quiet(keeper.pid)
                results.append((took - before) / looks)
            print(f"{count} domUs: {1000 * statistics.median(results):.1f} ms of processor a look "
                  f"({1000 * min(results):.1f}-{1000 * max(results):.1f})")
        finally:
            keeper.kill()
            keeper.wait()


main()
