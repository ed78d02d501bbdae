"""Checkpoints, as src/checkpoint/FORMAT.md says."""

import hashlib
import os
import re

from .effects import effects, slot_of
from .log import BLOCK, Chains, Little, VectorRing, end_of, le, secret_of
from .seal import AES, CHACHA, OFF, FileKey, Refused, vectors

NAME = re.compile(r"(\d{10,})(\.alone)?\.manifest")
SLOTS = 16384


class Manifest:
    """What says that a checkpoint is whole."""

    def __init__(self, name, data, ring):
        self.name = name
        match = NAME.fullmatch(name)
        c = Little(data)
        if c.take(8) != b"FERRCKP1" or c.number(2) != 1:
            raise Refused(f"{name}: not a manifest")
        algorithm = c.number(1)
        c.zeros(5)
        dek_id, node = c.take(16), c.take(16)
        number, length = c.number(8), c.number(8)
        if length != len(data) or length % BLOCK or number != int(match[1]):
            raise Refused(f"{name}: length or number")
        salt, commitment, tag, sealed = c.take(32), c.take(32), c.take(16), c.take(length - 144)
        # Core 0 seals it.
        secret = secret_of(name, algorithm, dek_id, node, 0, ring, "checkpoint")
        key = FileKey(secret, algorithm, b"ferrite checkpoint manifest", salt, data[:64])
        if key.commitment != commitment:
            raise Refused(f"{name}: commitment")
        self.message = (key.key, key.nonce(0), data[:128] + sealed + tag)
        self.commitment, self.tag = commitment, tag
        c = Little(key.open(0, data[:128], sealed, tag))
        self.number, self.run, self.begun, self.ended = (c.number(8) for _ in range(4))
        count, logged = c.number(8), c.number(8)
        self.logged = logged == 1
        if self.number != number or logged > 1 or self.logged != (match[2] is None) or not count:
            raise Refused(f"{name}: it makes no sense")
        self.parts = []
        """By core: (segment of the log, keys, what the end has to be)."""
        for core in range(count):
            begin, keys = c.number(8), c.number(8)
            named, end, _ = end_of(c)
            if named != core:
                raise Refused(f"{name}: its parts are not in order")
            self.parts.append((begin, keys, end))
        c.zeros(len(c.data) - c.at)


class Nothing:
    """The logs go on from nothing."""

    number, run, logged = 0, 0, False

    def begin(self, run, core):
        return 0

    def reaches(self, run, core):
        return 0

    def records(self):
        return ()

    def lacking(self, run, core, lsn, records):
        return records


class Checkpoint:
    """A checkpoint, read whole: what the logs go on from."""

    def __init__(self, manifest, parts):
        self.number, self.run, self.logged = manifest.number, manifest.run, manifest.logged
        self.manifest = manifest
        self.logs = [parts.log(manifest.number, core, end) for core, (_, _, end) in enumerate(manifest.parts)]
        self.below = [0] * SLOTS
        """By slot, the mark: what its core's log did below it is in the part."""
        self.highest = [max(self._marks(data) for _, kind, data in log.units if kind == 3) for log in self.logs]
        """By core, its highest mark."""
        if not all(self.below):
            raise Refused(f"{manifest.name}: the marks of its parts do not name every slot")

    def _marks(self, data):
        c, highest = Little(data), 0
        while not c.ended:
            first, end = c.number(2), c.number(2)
            c.zeros(4)
            below = c.number(8)
            if not first < end <= SLOTS or not below:
                raise Refused("a mark that makes no sense")
            for slot in range(first, end):
                if self.below[slot]:
                    raise Refused(f"slot {slot} is marked twice")
                self.below[slot] = below
            highest = max(highest, below)
        return highest

    def begin(self, run, core):
        """The segment that a log of a run begins with, as far as this checkpoint says so."""
        return self.manifest.parts[core][0] if run == self.run and core < len(self.manifest.parts) else 0

    def reaches(self, run, core):
        """How far the log of a core was durable when the checkpoint came to count."""
        return self.highest[core] if self.logged and run == self.run else 0

    def records(self):
        """Its effects: (core, LSN in the part, effect)."""
        for core, log in enumerate(self.logs):
            for lsn, kind, data in log.units:
                if kind == 1:
                    for effect in effects(data):
                        yield core, lsn, effect

    def lacking(self, run, core, lsn, records):
        """Of a unit's effects, what this checkpoint lacks."""
        if run != self.run or core >= len(self.highest) or lsn >= self.highest[core]:
            yield from records
            return
        for effect in records:
            name, db, *rest = effect
            if name in ("Flush", "Swap"):
                *other, first, end = rest
                for run_of in self._runs(first, end, lsn):
                    yield (name, db, *other, *run_of)
            elif lsn >= self.below[0 if name == "Library" else slot_of(rest[0])]:
                yield effect

    def _runs(self, first, end, lsn):
        """The ranges of slots from `first` to `end` that lack what a unit did."""
        at = first
        while at < end:
            if lsn < self.below[at]:
                at += 1
                continue
            start = at
            while at < end and lsn >= self.below[at]:
                at += 1
            yield start, at


class Directory:
    """A data directory's checkpoints."""

    def __init__(self, data_dir, ring):
        self.parts = Chains(os.path.join(data_dir, "checkpoint"), ring, (1, 3), label=b"ferrite checkpoint segment", purpose="checkpoint")
        names = [name for name in os.listdir(self.parts.directory) if NAME.fullmatch(name)]
        self.names = sorted(names, key=lambda name: int(NAME.fullmatch(name)[1]), reverse=True)
        self.ring = ring

    def manifest(self, name):
        return Manifest(name, self.parts.content(name), self.ring)

    def messages(self):
        yield from self.parts.messages()
        yield from (self.manifest(name).message for name in self.names)


def recover(data_dir, ring, logs):
    """What a data directory holds: the checkpoint that is gone on from, and all records in the order in which they count:
    (run, core, lsn, from a transaction, effect); those of the checkpoint have run 0."""
    directory = Directory(data_dir, ring)
    for name in directory.names:
        try:
            base = Checkpoint(directory.manifest(name), directory.parts)
            return base, [(0, core, lsn, False, effect) for core, lsn, effect in base.records()] + list(logs.records(base))
        except Refused:
            if ".alone" in name:
                raise
    return Nothing(), list(logs.records(Nothing()))


def vector_manifest(algorithm):
    """The manifest of the page's last section, made here."""
    ring = VectorRing(algorithm, "checkpoint")
    bound = b"FERRCKP1" + le(1, 2) + bytes([algorithm]) + bytes(5) + ring.dek_id + ring.node + le(5, 8) + le(BLOCK, 8)
    salt = bytes(range(0xC0, 0xE0))
    key = FileKey(bytes(range(32)), algorithm, b"ferrite checkpoint manifest", salt, bound)

    def end(core, seq, ident, length, tag, frames, lsn):
        return le(core, 8) + le(seq, 8) + bytes([ident]) * 16 + le(length, 8) + bytes([tag]) * 16 + le(frames, 8) + le(lsn, 8) + le(0, 8)

    text = le(5, 8) + le(3, 8) + le(1700000000000, 8) + le(1700000001500, 8) + le(2, 8) + le(1, 8)
    text += le(4, 8) + le(10, 8) + end(0, 1, 0x11, 12288, 0x22, 9, 5)
    text += le(6, 8) + le(0, 8) + end(1, 0, 0x33, 8192, 0x44, 3, 2)
    head = bound + salt + key.commitment
    sealed, tag = key.seal(0, head, text.ljust(BLOCK - 144, b"\0"))
    return ring, head + tag + sealed


def check_vectors(page):
    """Holds this module against the page's own vectors, writing them and reading them."""
    tried, algorithm = 0, None
    for name, value in vectors(page):
        if name == "algorithm":
            algorithm = value[0]
            ring, data = vector_manifest(algorithm)
            read = Manifest("0000000005.manifest", data, ring)
            have = {"manifest commitment": read.commitment, "manifest tag": read.tag, "manifest SHA-256": hashlib.sha256(data).digest()}
            assert (read.number, read.run, read.logged, read.ended - read.begun) == (5, 3, True, 1500)
            assert [(begin, keys, end[4:]) for begin, keys, end in read.parts] == [(4, 10, (9, 5)), (6, 0, (3, 2))]
        else:
            assert have[name] == value, f"{name} under algorithm {algorithm}: {have[name].hex()} against {value.hex()}"
            tried += 1
    assert tried == 9 and (OFF, AES, CHACHA) == (0, 1, 2), f"{tried} values were checked"
