#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domUs of a host as `xl` takes them, for a dom0 without Domus: the same images, config disks, memory, vCPUs
and cards. Writes /etc/xen/auto/NAME.cfg below a live-build tree, and a local disk with what they name.

usage: local-disk.py FLEET HOST LIVE-BUILD-TREE DISK
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

DOMUS = os.environ.get("DOMUS_BIN", "domus")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def mib(size):
    """MiB of a size as `domus show` writes it."""
    units = {"MiB": 1, "GiB": 1024}
    return int(size[:-3]) * units[size[-3:]]


def config_disk(fleet, domu, path):
    """What Domus' agent gives a guest beside its image: its document, global/ and vservers/NAME/."""
    mounts = [
        {"device": f"xvd{chr(ord('c') + index)}", "path": disk["mount"]}
        for index, disk in enumerate(domu["disk"])
    ]
    commit = output("git", "-C", fleet, "rev-parse", "HEAD").strip()
    document = {
        "version": 1, "fleet": "example", "name": domu["name"], "image": domu["image"],
        "commit": commit, "mounts": mounts, "vars": domu["vars"],
    }
    with tarfile.open(path, "w") as tar:
        head = tarfile.TarInfo("domu.json")
        body = json.dumps(document).encode()
        head.size = len(body)
        tar.addfile(head, io.BytesIO(body))
        for tree in ("global", f"vservers/{domu['name']}"):
            tar.add(os.path.join(fleet, tree), tree)
    # Whole pages, in which both kernels read a disk.
    os.truncate(path, -(-os.path.getsize(path) // 4096) * 4096)


def volume(path, size):
    """A volume as Domus would make it at its first start: here it is there already."""
    with open(path, "w") as file:
        file.truncate(size << 20)
    subprocess.run(["mkfs.ext4", "-q", path], check=True)


def xl(domu):
    """A document of `xl`. The TSC is native and a crashed guest starts again, as Domus has it; the rest
    are xl's defaults."""
    image = "/images/" + domu["image"]
    disks = [(f"{image}/root.img", "ro"), (f"/images/{domu['name']}.config", "ro")]
    disks += [(f"/images/{disk['volume']}", "rw") for disk in domu["disk"]]
    disks = [
        f"format=raw, vdev=xvd{chr(ord('a') + index)}, access={access}, target={target}"
        for index, (target, access) in enumerate(disks)
    ]
    vifs = [f"mac={card['mac']}, bridge={card['bridge']}" for card in domu["network"]]
    lines = {
        "name": domu["name"],
        "type": domu["kind"],
        "memory": mib(domu["memory"]),
        "vcpus": domu["vcpus"],
        "kernel": f"{image}/vmlinux",
        "ramdisk": f"{image}/initrd.img",
        "cmdline": "domus.config=xvdb console=hvc0 quiet systemd.condition_needs_update=no",
        "tsc_mode": "native",
        "on_crash": "restart",
        "disk": disks,
        "vif": vifs,
    }
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


def main():
    fleet, host, tree, disk = sys.argv[1:]
    auto = os.path.join(tree, "config/includes.chroot_after_packages/etc/xen/auto")
    os.makedirs(auto, exist_ok=True)
    with tempfile.TemporaryDirectory() as root:
        for file in sorted(os.listdir(os.path.join(fleet, "pservers", host, "domUs"))):
            shown = output(DOMUS, "show", "--json", "-C", fleet, file.removesuffix(".toml"))
            domu = json.loads(shown)["settings"]
            with open(os.path.join(auto, domu["name"] + ".cfg"), "w") as document:
                document.write(xl(domu))
            config_disk(fleet, domu, os.path.join(root, domu["name"] + ".config"))
            for one in domu["disk"]:
                volume(os.path.join(root, one["volume"]), mib(one["size"]))
            image = os.path.join(root, domu["image"])
            if not os.path.exists(image):
                shutil.copytree(os.path.join(fleet, "build/images", domu["image"]), image)
        with open(disk, "w") as file:
            file.truncate(1 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-L", "images", "-d", root, disk], check=True)


main()
