# SPDX-License-Identifier: GPL-3.0-or-later
# Writes a pack with a large file, all zeros, of which a GiB takes a MiB there, and its index.
# With a small file as a third argument that is packed, too, as a difference to the large one.
# Arguments: `objects/pack` of a repository, a size in MiB, the small file.
# Prints the ids: of the large one, and of the small one.
import hashlib
import struct
import sys
import zlib

MIB = 1 << 20
directory, mib = sys.argv[1], int(sys.argv[2])


def blob(parts, size):
    digest = hashlib.sha1(b"blob %d\0" % size)
    for part in parts:
        digest.update(part)
    return digest.digest()


def head(kind, size):
    first, size = kind << 4 | size & 15, size >> 4
    rest = bytearray([first])
    while size:
        rest[-1] |= 0x80
        rest.append(size & 0x7F)
        size >>= 7
    return bytes(rest)


def number(size):
    rest = bytearray()
    while size >= 0x80:
        rest.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(rest + bytearray([size]))


def behind(distance):
    rest = bytearray([distance & 0x7F])
    while distance := distance >> 7:
        distance -= 1
        rest.insert(0, distance & 0x7F | 0x80)
    return bytes(rest)


def deflated_zeros():
    # Each MiB is the same bytes, so it is compressed once.
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    adler = (mib * MIB % 65521) << 16 | 1
    yield b"\x78\xda"
    yield from (part for _ in range(mib))
    yield b"\x03\x00" + struct.pack(">I", adler)


size = mib * MIB
pack = bytearray(b"PACK" + struct.pack(">II", 2, len(sys.argv) - 2))
zeros = bytes(MIB)
objects = []


def add(identity, *parts):
    offset = len(pack)
    for part in parts:
        pack.extend(part)
    objects.append((identity, zlib.crc32(pack[offset:]), offset))
    print(identity.hex())


add(blob((zeros for _ in range(mib)), size), head(3, size), *deflated_zeros())
if len(sys.argv) > 3:
    with open(sys.argv[3], "rb") as file:
        small = file.read()
    parts = [small[at:at + 127] for at in range(0, len(small), 127)]
    delta = number(size) + number(len(small))
    delta += b"".join(bytes([len(part)]) + part for part in parts)
    distance = behind(len(pack) - 12)
    add(blob([small], len(small)), head(6, len(delta)), distance, zlib.compress(delta))
name = hashlib.sha1(pack).digest()
pack += name
objects.sort()
index = bytearray(b"\xfftOc\0\0\0\x02")
for first in range(256):
    index += struct.pack(">I", sum(identity[0] <= first for identity, _, _ in objects))
index += b"".join(identity for identity, _, _ in objects)
index += b"".join(struct.pack(">I", crc) for _, crc, _ in objects)
index += b"".join(struct.pack(">I", offset) for _, _, offset in objects)
index += name
index += hashlib.sha1(index).digest()
for ending, content in (("pack", pack), ("idx", index)):
    with open("%s/pack-%s.%s" % (directory, name.hex(), ending), "wb") as file:
        file.write(content)
