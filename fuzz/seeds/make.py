# SPDX-License-Identifier: GPL-3.0-or-later
# Writes the seeds beside it: what a fuzzer would take long to find by itself.
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def write(target, name, content):
    directory = os.path.join(HERE, target)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(content)


def entry(kind, content, moved=0):
    return bytes([kind, moved]) + struct.pack(">H", len(content)) + content


def number(size):
    rest = bytearray()
    while size >= 0x80:
        rest.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(rest + bytearray([size]))


# Names that only case tells apart, of files and of directories; the same name twice; names that lead out.
write("git-tree", "case", b"40000 Bar\0" b"100644 Foo\0" b"40000 bar\0" b"100644 foo\0")
write("git-tree", "twice", b"120000 etc\0" b"40000 etc\0")
write("git-tree", "out", b"100644 ..\0" b"100644 a/b\0" b"40000 .git\0" b"160000 module\0")

BLOB, BEHIND, NAMED = 3, 6, 7
base = b"version = 1\nimage = \"web@7\"\n"
copy = number(len(base)) + number(len(base)) + bytes([0x90, len(base)])
head = entry(BLOB, base)
# Before the second entry: two bytes of size, seven of zlib, the content, a checksum.
behind = bytes([2 + 7 + len(base) + 4])
write("packs", "difference", b"\0" + head + entry(BEHIND, behind + copy))
write("packs", "named", b"\x06" + head + entry(NAMED, bytes(20) + copy))
write("packs", "circle", b"\0" + entry(NAMED, b"\x01" * 20 + copy) + entry(NAMED, bytes(20) + copy))
# A difference that says it makes 2^40 bytes, and one that makes as many as it can.
huge = number(len(base)) + number(1 << 40) + bytes([0x90, len(base)])
write("packs", "says-much", b"\0" + head + entry(BEHIND, behind + huge))
zeros = bytes(0xF000)
many = number(len(zeros)) + number(len(zeros) * 64) + bytes([0xB0, 0x00, 0xF0]) * 64
write("packs", "bomb", b"\0" + entry(BLOB, zeros) + entry(NAMED, bytes(20) + many))
write("packs", "wrong-size", b"\0" + entry(BLOB, base, 9) + entry(BLOB, b""))
write("packs", "raw", b"\x01" + bytes(1024) + struct.pack(">I", 1) + bytes(20) + head)
