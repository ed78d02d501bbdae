"""Effects, as the head of src/shard/effect.rs says, and a store of a few lines that applies them."""

from .seal import Cursor, Refused


def varint(c):
    """LEB128, in its shortest form only."""
    value = shift = 0
    while True:
        byte = c.number(1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise Refused("a number that is not in its shortest form")
            return value
        shift += 7
        if shift > 63:
            raise Refused("a number beyond 64 bits")


def effects(data):
    """The records of a buffer, as tuples that begin with the effect's name."""
    c = Cursor(data)
    while not c.ended:
        op = c.number(1)
        if op in (1, 2):
            db, key, value = varint(c), varint(c), varint(c)
            expire = varint(c) if op == 2 else 0
            yield "Set", db, c.take(key), c.take(value), expire
        elif op == 3:
            db = varint(c)
            yield "Del", db, c.take(varint(c))
        elif op == 4:
            db, at = varint(c), varint(c)
            yield "ExpireAt", db, c.take(varint(c)), at
        elif op == 5:
            db, key, value = varint(c), varint(c), varint(c)
            yield "Append", db, c.take(key), c.take(value)
        elif op == 6:
            db, key, value, offset = varint(c), varint(c), varint(c), varint(c)
            yield "SetRange", db, c.take(key), offset, c.take(value)
        elif op == 7:
            db, first, end = varint(c), varint(c), varint(c)
            yield "Flush", db - 1 if db else None, first, end
        elif op == 8:
            db, key, size, expire = varint(c), varint(c), varint(c), varint(c)
            yield "Restore", db, c.take(key), c.take(size), expire
        elif op == 9:
            db, kind, key, size = varint(c), varint(c), varint(c), varint(c)
            yield "Alter", db, c.take(key), chr(kind), c.take(size)
        elif op == 10:
            a, b, first, end = varint(c), varint(c), varint(c), varint(c)
            yield "Swap", a, b, first, end
        elif op == 11:
            name, size = varint(c), varint(c)
            yield "Library", None, c.take(name), c.take(size)
        else:
            raise Refused(f"effect {op}")


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def slot_of(key):
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc16(key) % 16384


class Store:
    """(database, key) -> [value, expiry in milliseconds or 0]."""

    def __init__(self):
        self.keys = {}

    def apply(self, effect):
        name, db, *rest = effect
        if name == "Set":
            key, value, expire = rest
            self.keys[db, key] = [value, expire]
        elif name == "Del":
            self.keys.pop((db, rest[0]), None)
        elif name == "ExpireAt":
            self.keys[db, rest[0]][1] = rest[1]
        elif name == "Append":
            self.keys[db, rest[0]][0] += rest[1]
        elif name == "SetRange":
            key, offset, piece = rest
            held = self.keys[db, key]
            held[0] = held[0].ljust(offset, b"\0")[:offset] + piece + held[0][offset + len(piece) :]
        elif name == "Flush":
            first, end = rest
            gone = [k for k in self.keys if db in (None, k[0]) and first <= slot_of(k[1]) < end]
            for k in gone:
                del self.keys[k]
        elif name == "Swap":
            other, first, end = rest
            place = {db: other, other: db}
            swapped = lambda k: (place.get(k[0], k[0]) if first <= slot_of(k[1]) < end else k[0], k[1])
            self.keys = {swapped(k): held for k, held in self.keys.items()}
        elif name == "Library":
            pass  # It is no key's.
        else:
            raise Refused(f"{name} is not for strings")
