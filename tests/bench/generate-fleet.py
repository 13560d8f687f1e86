#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a git repository with a fleet of so many hosts, ten domUs each:

    generate-fleet.py DIR HOSTS

Its objects are written as one pack (`git fast-import` takes hours over a directory of 100,000
names) and packed anew by git, with deltas as any repository has them. Beside DIR, DIR.json holds
the same documents, one JSON document a line: for the floor that parsing alone sets.
"""
import hashlib
import json
import struct
import subprocess
import sys
import uuid
import zlib

DOMUS = 10
IMAGES = ("web", "db", "mail")


class Pack:
    """A pack file: every object whole."""

    def __init__(self, path):
        self.file = open(path, "wb+")
        self.file.write(b"PACK" + struct.pack(">II", 2, 0))
        self.seen = set()

    def add(self, kind, body):
        name = ("commit", "tree", "blob")[kind - 1]
        digest = hashlib.sha1(b"%s %d\0" % (name.encode(), len(body)) + body).digest()
        if digest in self.seen:
            return digest
        self.seen.add(digest)
        size = len(body)
        head = bytearray([(kind << 4) | (size & 15)])
        size >>= 4
        while size:
            head[-1] |= 128
            head.append(size & 127)
            size >>= 7
        self.file.write(bytes(head) + zlib.compress(body, 1))
        return digest

    def blob(self, text):
        return self.add(3, text.encode())

    def tree(self, entries):
        """Of (name, digest, whether it is a tree)."""
        entries.sort(key=lambda entry: entry[0] + ("/" if entry[2] else ""))
        return self.add(2, b"".join(
            (b"40000 " if is_tree else b"100644 ") + name.encode() + b"\0" + digest
            for name, digest, is_tree in entries))

    def finish(self):
        self.file.seek(8)
        self.file.write(struct.pack(">I", len(self.seen)))
        self.file.seek(0)
        digest = hashlib.sha1()
        while chunk := self.file.read(1 << 20):
            digest.update(chunk)
        self.file.write(digest.digest())
        self.file.close()


def main():
    directory, hosts = sys.argv[1], int(sys.argv[2])
    git = ["git", "-C", directory]
    subprocess.run(["git", "init", "-q", "-b", "main", directory], check=True)
    pack = Pack(f"{directory}.pack")
    with open(f"{directory}.json", "w") as lines:
        def document(text, value):
            lines.write(json.dumps(value) + "\n")
            return pack.blob(text)

        root = fleet(document, pack, hosts)
    who = "Bench <bench@example.net> 1700000000 +0000"
    commit = pack.add(1, (f"tree {root.hex()}\nauthor {who}\ncommitter {who}\n\nfleet\n").encode())
    pack.finish()
    with open(f"{directory}.pack", "rb") as stream:
        subprocess.run(git + ["index-pack", "--stdin"], stdin=stream, check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(git + ["update-ref", "refs/heads/main", commit.hex()], check=True)
    subprocess.run(git + ["repack", "-adfq"], check=True)


def fleet(document, pack, hosts):
    root = [("domus.toml", document(DOMUS_TOML, {"version": 1}), False)]
    recipe = document("version  = 1\nrevision = 7\n", {"version": 1, "revision": 7})
    root.append(("images", pack.tree([(f"{name}.toml", recipe, False) for name in IMAGES]), True))
    pservers = []
    for number in range(hosts):
        name = f"host-{number:06}"
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        group = ("web", "db")[number % 2]
        node = number + 1
        address = f"10.{node >> 16 & 255}.{node >> 8 & 255}.{node & 255}/8"
        host = document(HOST.format(identity=identity, group=group, address=address), {
            "version": 1, "groups": [group],
            "machine": {"dmi-uuid": identity, "memory": "64GiB"},
            "dom0": {"memory": "512MiB", "vcpus": 2},
            "storage": {"domUs": {"volume-group": "vg0"}},
            "networks": {"lan": {"ports": ["eno1"], "address": address}},
        })
        domus = pack.tree([domu(document, number, index) for index in range(DOMUS)])
        tree = pack.tree([("host.toml", host, False), ("domUs", domus, True)])
        pservers.append((name, tree, True))
    root.append(("pservers", pack.tree(pservers), True))
    return pack.tree(root)


def domu(document, number, index):
    image = IMAGES[index % len(IMAGES)]
    after = [f"vm-{number:06}-0"] if index else []
    serial = number * DOMUS + index
    mac = "00:16:3e:%02x:%02x:%02x" % (serial >> 16 & 255, serial >> 8 & 255, serial & 255)
    text = DOMU.format(image=image, after=json.dumps(after), mac=mac)
    return f"vm-{number:06}-{index}.toml", document(text, {
        "version": 1, "image": f"{image}@7", "memory": "512MiB", "vcpus": 2, "after": after,
        "network": [{"bridge": "lan", "mac": mac}],
        "disk": [{"name": "data", "size": "10GiB", "mount": "/srv"}],
    }), False


DOMUS_TOML = """version = 1
fleet   = "bench"

[groups.web]
[groups.db]

[defaults.domU]
kind   = "pvh"
memory = "256MiB"
"""

HOST = """version = 1
groups  = ["{group}"]

[machine]
dmi-uuid = "{identity}"
memory   = "64GiB"

[dom0]
memory = "512MiB"
vcpus  = 2

[storage.domUs]
volume-group = "vg0"

[networks.lan]
ports   = ["eno1"]
address = "{address}"
"""

DOMU = """version = 1
image  = "{image}@7"
memory = "512MiB"
vcpus  = 2
after  = {after}

[[network]]
bridge = "lan"
mac    = "{mac}"

[[disk]]
name  = "data"
size  = "10GiB"
mount = "/srv"
"""

main()
