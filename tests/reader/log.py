"""The sealed log, as src/log/FORMAT.md says."""

import hashlib
import os
import re
from dataclasses import dataclass, field

from .effects import effects
from .keyring import NUMBERS, Dek
from .seal import AES, CHACHA, OFF, Cursor, FileKey, Refused, crc32c, vectors

BLOCK = 4096
MAX_FRAME = 1 << 20
OPENING, DATA, SEAL = 1, 2, 3
MORE, CONTINUES, LAST = 1, 2, 4
NAME = re.compile(r"(\d{10,})-(\d{5,})-(\d{10,})\.seg")


class Little(Cursor):
    """Fields of the log are little-endian."""

    def number(self, n):
        return int.from_bytes(self.take(n), "little")

    def zeros(self, n):
        if any(self.take(n)):
            raise Refused(f"bytes that have to be zero before {self.at}")


def le(value, n):
    return value.to_bytes(n, "little")


@dataclass
class Link:
    id: bytes = bytes(16)
    length: int = 0
    tag: bytes = bytes(16)


@dataclass
class Frame:
    number: int
    kind: int
    flags: int
    durable: int
    first_lsn: int
    units: int
    payload: bytes
    at: int
    end: int
    tag: bytes


class Segment:
    """One segment file of a log, or of a part of a checkpoint: its header, and its key."""

    def __init__(self, name, data, ring, label=b"ferrite log segment", purpose="aof"):
        self.name, self.data = name, data
        c = Little(data)
        if data[:8] != b"FERRSEG1" or crc32c(data[:4092]) != int.from_bytes(data[4092:4096], "little"):
            raise Unwritten
        c.take(8)
        if c.number(2) != 1:
            raise Refused(f"{name}: version")
        self.algorithm = c.number(1)
        c.zeros(1)
        self.core, self.cores, self.run, self.seq = c.number(2), c.number(2), c.number(8), c.number(8)
        self.first_frame, self.first_lsn, self.durable, self.size = (c.number(8) for _ in range(4))
        self.dek_id, self.node = c.take(16), c.take(16)
        self.before = Link(c.take(16), c.number(8), c.take(16))
        tenant = c.number(2)
        self.tenant = c.take(tenant)
        c.zeros(118 - tenant)
        self.salt, commitment = c.take(32), c.take(32)
        c.zeros(3772)
        self.id = self.salt[:16]
        if self.core >= self.cores:
            raise Refused(f"{name}: core")
        secret = secret_of(name, self.algorithm, self.dek_id, self.node, self.core, ring, purpose)
        self.key = FileKey(secret, self.algorithm, label, self.salt, data[:256])
        if self.key.commitment != commitment:
            raise Refused(f"{name}: commitment")

    def frame_at(self, at, number):
        """The frame `number` if it stands whole and authentic at `at`, else None."""
        head = self.data[at : at + 64]
        if len(head) < 64 or head[:4] != b"FRM1":
            return None
        c = Little(head, 4)
        kind, flags = c.number(1), c.number(1)
        zero, n, durable, first_lsn = c.number(2), c.number(8), c.number(8), c.number(8)
        length, payload, units, zero2, tag = c.number(4), c.number(4), c.number(4), c.number(4), c.take(16)
        if n != number or zero or zero2 or length % BLOCK or not BLOCK <= length <= MAX_FRAME or at + length > len(self.data):
            return None
        if -(-(64 + payload) // BLOCK) * BLOCK != length:
            return None
        try:
            plain = self.key.open(number - self.first_frame, head[:48], self.data[at + 64 : at + length], tag)
        except Refused:
            return None
        if any(plain[payload:]):
            raise Refused(f"{self.name}: padding that is not zero at {at}")
        allowed = {OPENING: 0, DATA: MORE | CONTINUES, SEAL: LAST}
        if kind not in allowed or flags & ~allowed[kind]:
            raise Refused(f"{self.name}: kind {kind} with flags {flags} at {at}")
        return Frame(n, kind, flags, durable, first_lsn, units, plain[:payload], at, at + length, tag)

    def frames(self):
        """The frames that stand in a row from the beginning."""
        at, number = BLOCK, self.first_frame
        while frame := self.frame_at(at, number):
            yield frame
            at, number = frame.end, number + 1

    def convicts(self, start, number):
        """Whether an authentic frame behind `start` says that frame `number` was durable."""
        for at in range(start, len(self.data), BLOCK):
            if self.data[at : at + 4] == b"FRM1":
                n = int.from_bytes(self.data[at + 8 : at + 16], "little")
                if n > number and (frame := self.frame_at(at, n)) and frame.durable > number:
                    return True
        return False

    def messages(self):
        """(key, nonce, ciphertext and tag) of every frame."""
        for frame in self.frames():
            counter = frame.number - self.first_frame
            # The header of a frame is associated data: part of what must not differ under one nonce.
            yield self.key.key, self.key.nonce(counter), self.data[frame.at : frame.end]


class Unwritten(Exception):
    """A segment file that was made and not begun."""


def secret_of(name, algorithm, dek_id, node, core, ring, purpose="aof"):
    """The Dek's secret that a header names."""
    if algorithm == OFF:
        if dek_id != bytes(13) + bytes([NUMBERS[purpose]]) + core.to_bytes(2, "big"):
            raise Refused(f"{name}: Dek of an unsealed file")
        return bytes(32)
    dek = ring.deks.get(dek_id)
    if dek is None or dek.secret is None:
        raise Refused(f"{name}: no such Dek")
    if (dek.algorithm, dek.purpose, dek.core) != (algorithm, purpose, core) or node != ring.node:
        raise Refused(f"{name}: a Dek, core or node that does not fit")
    return dek.secret


class AnchorSlot:
    """One slot of an anchor file."""

    def __init__(self, name, data, ring):
        c = Little(data)
        if c.take(8) != b"FERRANC1" or c.number(2) != 1:
            raise Refused(f"{name}: not an anchor")
        algorithm = c.number(1)
        c.zeros(1)
        self.core = c.number(2)
        c.zeros(2)
        dek_id, node = c.take(16), c.take(16)
        c.zeros(16)
        salt, commitment = c.take(32), c.take(32)
        self.counter = c.number(8)
        c.zeros(8)
        tag, sealed = c.take(16), c.take(3936)
        self.key = FileKey(secret_of(name, algorithm, dek_id, node, self.core, ring), algorithm, b"ferrite log anchor",
                           salt, data[:64])
        if self.key.commitment != commitment:
            raise Refused(f"{name}: commitment")
        self.message = (self.key.key, self.key.nonce(self.counter), data[128:144] + sealed + tag)
        c = Little(self.key.open(self.counter, data[:144], sealed, tag))
        self.generation, self.run, self.seq = c.number(8), c.number(8), c.number(8)
        self.id, self.durable, self.lsn = c.take(16), c.number(8), c.number(8)
        self.begin_run, self.begin_segment, self.clean = c.number(8), c.number(8), c.number(4)
        c.zeros(3860)


def anchor_slots(name, data, ring):
    """The slots that open, newest first."""
    slots = []
    for at in (0, BLOCK):
        try:
            slots.append(AnchorSlot(name, data[at : at + BLOCK], ring))
        except Refused:
            pass
    return sorted(slots, key=lambda s: -s.generation)


@dataclass
class Log:
    """One core's log of one run, read to its end."""

    core: int
    frames: int = 0
    next_lsn: int = 1
    end: tuple = ()
    """(segment, id, length, tag) of the last frame that counts."""
    units: list = field(default_factory=list)
    """(lsn, kind, bytes) of the complete units."""
    opening: bytes = b""


class Chains:
    """The segments of a directory, and how a chain of them is read."""

    def __init__(self, directory, ring, kinds, **of):
        self.directory, self.ring, self.kinds = directory, ring, kinds
        self.segments, self.unwritten = {}, []
        for name in sorted(os.listdir(directory)):
            if match := NAME.fullmatch(name):
                place = tuple(int(x) for x in match.groups())
                try:
                    segment = Segment(name, self.content(name), ring, **of)
                except Unwritten:
                    self.unwritten.append(place)
                    continue
                if (segment.run, segment.core, segment.seq) != place:
                    raise Refused(f"{name} says it is {segment.run}-{segment.core}-{segment.seq}")
                self.segments[place] = segment

    def content(self, name):
        with open(os.path.join(self.directory, name), "rb") as f:
            return f.read()

    def log(self, run, core, end, begin=0, opening_only=False):
        """Reads one chain from a segment on; `end` is the recorded one, or None for the newest run's log."""
        log, seq, before, partial = Log(core), begin, Link(), None
        if begin and (segment := self.segments.get((run, core, begin))):
            # What was before is not needed any more.
            before, log.frames, log.next_lsn = segment.before, segment.first_frame, segment.first_lsn
        while True:
            segment = self.segments.get((run, core, seq))
            if segment is None:
                break
            if (segment.before.id, segment.before.length, segment.before.tag) != (before.id, before.length, before.tag):
                raise Refused(f"{segment.name}: it does not follow the segment before")
            if segment.first_frame != log.frames:
                raise Refused(f"{segment.name}: first frame")
            if segment.first_lsn != log.next_lsn + (partial is not None):
                raise Refused(f"{segment.name}: first LSN")
            sealed = False
            for frame in segment.frames():
                # What an earlier run's end does not hold does not count.
                if end and (seq, frame.end) > (end[0], end[2]):
                    break
                log.frames += 1
                log.end = (seq, segment.id, frame.end, frame.tag)
                before = Link(segment.id, frame.end, frame.tag)
                if frame.kind == OPENING:
                    if frame.number != 0:
                        raise Refused(f"{segment.name}: an opening in the middle")
                    log.opening = frame.payload
                    if opening_only:
                        return log
                elif frame.kind == SEAL:
                    c = Little(frame.payload)
                    # A unit that goes on in the next segment has begun: the next one that begins is the one after.
                    begins = log.next_lsn + (partial is not None)
                    if (c.number(8), c.number(8)) != (log.frames, begins) or not c.ended:
                        raise Refused(f"{segment.name}: the seal does not fit")
                    sealed = True
                    if frame.flags & LAST:
                        return self._ended(log, end, run)
                    break
                else:
                    partial = self._units(log, frame, partial)
            if not sealed:
                break
            seq += 1
        if end is None:
            self._torn(run, core, seq, log)
        return self._ended(log, end, run)

    def _units(self, log, frame, partial):
        """Takes the units of a data frame; returns the one that is not complete."""
        if bool(frame.flags & CONTINUES) != (partial is not None):
            raise Refused(f"frame {frame.number}: CONTINUES does not fit")
        # Units that begin here have these LSNs; one that continues has had its own.
        begun = log.next_lsn + (partial is not None)
        if frame.first_lsn != begun:
            raise Refused(f"frame {frame.number}: first LSN {frame.first_lsn}, not {begun}")
        data = (partial or b"") + frame.payload
        at, complete, open_unit = 0, 0, None
        while at < len(data):
            head = Little(data, at)
            kind = head.number(1)
            head.zeros(3)
            head.number(4)
            size = head.number(8)
            if kind not in self.kinds:
                raise Refused(f"frame {frame.number}: unit {kind}")
            if at + 16 + size > len(data):
                open_unit = data[at:]
                break
            log.units.append((log.next_lsn, kind, data[at + 16 : at + 16 + size]))
            log.next_lsn += 1
            complete += 1
            at += 16 + size
        if bool(frame.flags & MORE) != (open_unit is not None):
            raise Refused(f"frame {frame.number}: MORE does not fit")
        still = open_unit is not None and partial is not None and complete == 0
        begins = complete + (open_unit is not None) - (partial is not None)
        if frame.units != (0 if still else begins):
            raise Refused(f"frame {frame.number}: {frame.units} units, {begins} found")
        return open_unit

    def _ended(self, log, end, run):
        if end and (*log.end, log.frames, log.next_lsn) != end:
            raise Refused(f"run {run}, core {log.core}: ends at {log.end}, not at {end}")
        return log

    def messages(self):
        """Every message sealed in these segments."""
        for segment in self.segments.values():
            yield from segment.messages()


class Reader(Chains):
    """A data directory's log."""

    def __init__(self, data_dir, ring):
        super().__init__(os.path.join(data_dir, "log"), ring, (1, 2))
        self.anchors = {}
        for name in sorted(os.listdir(self.directory)):
            if re.fullmatch(r"\d{5,}\.anchor", name):
                slots = anchor_slots(name, self.content(name), ring)
                if not slots:
                    raise Refused(f"{name}: no slot opens")
                self.anchors[int(name.split(".")[0])] = slots

    def runs(self, base):
        """The runs that go on from `base`, oldest first: (run, {core: its end} or None, {core: the segment it begins with})."""
        newest = max((slots[0].run for slots in self.anchors.values()), default=0)
        if 0 in self.anchors and self.anchors[0][0].begin_run > base.run:
            raise Refused("the log does not reach back to what it goes on from")
        released = {core: slots[0].begin_segment for core, slots in self.anchors.items() if slots[0].run == newest}
        out, run, ends, oldest = [], newest, None, {}
        while run and run >= base.run:
            oldest = released
            begins = {core: max(released.get(core, 0), base.begin(run, core)) for core in self.cores(run)}
            out.append((run, ends, begins))
            if begins[0] > 0:
                break
            c = Little(self.log(run, 0, ends and ends[0], opening_only=True).opening)
            if c.number(8) != run:
                raise Refused(f"run {run}: its opening names another")
            run, recorded = c.number(8), [end_of(c) for _ in range(c.number(8))]
            if not c.ended:
                raise Refused("an opening with bytes to spare")
            ends = {core: end for core, end, _ in recorded}
            released = {core: begin for core, _, begin in recorded}
        if base.logged and (not out or out[-1][0] != base.run):
            raise Refused(f"run {base.run}, which the checkpoint was taken in, is missing")
        for core, begin in oldest.items():
            if begin > base.begin(out[-1][0], core):
                raise Refused("the log does not reach back to what it goes on from")
        return out[::-1]

    def cores(self, run):
        """The cores that a run has."""
        segment = next((s for (r, _, _), s in sorted(self.segments.items()) if r == run), None)
        if segment is None:
            raise Refused(f"run {run} is missing")
        return range(segment.cores)

    def _torn(self, run, core, seq, log):
        """The newest run's log ended without LAST: a torn tail, or a refusal."""
        n = log.frames
        slots = [s for s in self.anchors.get(core, []) if s.run == run]
        if (slots and n < slots[0].durable) or (not slots and n == 0):
            raise Refused(f"run {run}, core {core}: frame {n} was durable and is not there")
        start = log.end[2] if log.end and log.end[0] == seq else BLOCK
        for (r, c, s), segment in self.segments.items():
            if (r, c) == (run, core) and s >= seq:
                if s > seq and segment.durable > n or segment.convicts(start if s == seq else BLOCK, n):
                    raise Refused(f"{segment.name}: frame {n} was durable and is not there")

    def records(self, base):
        """The effects that go on from `base`, in the order in which they count: (run, core, lsn, from a transaction, effect)."""
        for run, ends, begins in self.runs(base):
            logs = [self.log(run, core, ends[core] if ends else None, begin) for core, begin in begins.items()]
            for log in logs:
                if log.next_lsn < base.reaches(run, log.core):
                    raise Refused(f"run {run}, core {log.core}: it ends below the checkpoint's marks")
            parts = {}
            for log in logs:
                for lsn, kind, data in log.units:
                    if kind == 1:
                        for effect in base.lacking(run, log.core, lsn, effects(data)):
                            yield run, log.core, lsn, False, effect
                        continue
                    mine = False
                    for core, part_lsn, piece in transaction(data):
                        if core == log.core:
                            if part_lsn != lsn:
                                raise Refused(f"run {run}: a transaction of LSN {part_lsn} stands at {lsn}")
                            mine = True
                            for effect in base.lacking(run, core, lsn, effects(piece)):
                                yield run, core, lsn, True, effect
                        elif part_lsn >= logs[core].next_lsn:
                            parts[core, part_lsn] = piece
                    if not mine:
                        raise Refused(f"run {run}: a transaction in a log that has no part in it")
            for (core, lsn), piece in sorted(parts.items()):
                for effect in effects(piece):
                    yield run, core, lsn, True, effect

    def messages(self):
        """Every sealed message that stands in the directory."""
        yield from super().messages()
        for slots in self.anchors.values():
            yield from (slot.message for slot in slots)


def end_of(c):
    """An end, as an opening or a manifest records it: the core, what the chain's end has to be, the segment it begins with."""
    core, seq, ident, length, tag = c.number(8), c.number(8), c.take(16), c.number(8), c.take(16)
    return core, (seq, ident, length, tag, c.number(8), c.number(8)), c.number(8)


def transaction(data):
    """(core, LSN, effects) of each participant."""
    c = Little(data)
    c.number(8)
    n = c.number(2)
    c.zeros(6)
    heads = []
    for _ in range(n):
        core = c.number(2)
        c.zeros(2)
        c.number(4)
        heads.append((core, c.number(8), c.number(8)))
    out = [(core, lsn, c.take(size)) for core, lsn, size in heads]
    if not c.ended:
        raise Refused("a transaction with bytes to spare")
    return out


class VectorRing:
    """The keyring of the test vectors."""

    def __init__(self, algorithm, purpose="aof"):
        self.node = bytes(range(0xA0, 0xB0))
        ident = bytes(range(0xD0, 0xE0))
        self.deks = {ident: Dek(ident, purpose, "active", algorithm, 0, 1, b"", bytes(range(32)))}
        self.dek_id = ident if algorithm else bytes(13) + bytes([NUMBERS[purpose], 0, 0])


def vector_segment(algorithm):
    """The segment of the page's section 8, made here."""
    ring = VectorRing(algorithm)
    bound = (b"FERRSEG1" + le(1, 2) + bytes([algorithm, 0]) + le(0, 2) + le(2, 2) + le(3, 8) + le(0, 8) + le(0, 8) + le(1, 8)
             + le(0, 8) + le(65536, 8) + ring.dek_id + ring.node + bytes(40) + bytes(120))
    salt = bytes(range(0x40, 0x60))
    key = FileKey(bytes(range(32)), algorithm, b"ferrite log segment", salt, bound)
    header = bound + salt + key.commitment + bytes(3772)
    out, tags = header + le(crc32c(header), 4), []

    def unit(kind, records, data):
        return bytes([kind, 0, 0, 0]) + le(records, 4) + le(len(data), 8) + data

    def part(core, lsn, data):
        return le(core, 2) + le(0, 2) + le(1, 4) + le(lsn, 8) + le(len(data), 8)

    opening = le(3, 8) + le(2, 8) + le(1, 8) + le(0, 8) + le(1, 8) + b"\x11" * 16 + le(12288, 8) + b"\x22" * 16 + le(9, 8) + le(5, 8) + le(0, 8)
    both = le(99, 8) + le(2, 2) + bytes(6) + part(0, 2, b"left") + part(1, 7, b"right") + b"leftright"
    data = unit(1, 2, b"hello") + unit(2, 2, both)
    frames = [(OPENING, 0, 1, 0, opening), (DATA, 0, 1, 2, data), (SEAL, LAST, 3, 0, le(3, 8) + le(3, 8))]
    for number, (kind, flags, lsn, units, payload) in enumerate(frames):
        head = (b"FRM1" + bytes([kind, flags, 0, 0]) + le(number, 8) + le(number, 8) + le(lsn, 8) + le(BLOCK, 4)
                + le(len(payload), 4) + le(units, 4) + bytes(4))
        sealed, tag = key.seal(number, head, payload.ljust(BLOCK - 64, b"\0"))
        out += head + tag + sealed
        tags.append(tag)
    return ring, key, tags, out


def vector_anchor(algorithm):
    ring = VectorRing(algorithm)
    bound = b"FERRANC1" + le(1, 2) + bytes([algorithm, 0]) + bytes(4) + ring.dek_id + ring.node + bytes(16)
    salt = bytes(range(0x80, 0xA0))
    key = FileKey(bytes(range(32)), algorithm, b"ferrite log anchor", salt, bound)
    head = bound + salt + key.commitment + bytes(16)
    plain = (le(6, 8) + le(3, 8) + le(0, 8) + bytes(range(0x40, 0x50)) + le(3, 8) + le(2, 8) + bytes(16) + le(1, 4)).ljust(3936, b"\0")
    sealed, tag = key.seal(0, head, plain)
    return ring, key, tag, head + tag + sealed


def check_vectors(page):
    """Holds this module against the page's own vectors, writing them and reading them."""
    tried, algorithm = 0, None
    for name, value in vectors(page):
        if name == "algorithm":
            algorithm = value[0]
            ring, key, tags, data = vector_segment(algorithm)
            anchor_ring, anchor_key, anchor_tag, anchor = vector_anchor(algorithm)
            have = {"segment commitment": key.commitment, "segment SHA-256": hashlib.sha256(data).digest(),
                    "anchor commitment": anchor_key.commitment, "anchor tag": anchor_tag,
                    "anchor SHA-256": hashlib.sha256(anchor).digest()}
            have |= {f"segment tag of frame {i}": tag for i, tag in enumerate(tags)}
            segment = Segment("vector", data, ring)
            assert [f.kind for f in segment.frames()] == [OPENING, DATA, SEAL] and (segment.run, segment.cores) == (3, 2)
            slot = AnchorSlot("vector", anchor, anchor_ring)
            assert (slot.generation, slot.run, slot.durable, slot.lsn, slot.clean) == (6, 3, 3, 2, 1)
        else:
            assert have[name] == value, f"{name} under algorithm {algorithm}: {have[name].hex()} against {value.hex()}"
            tried += 1
    assert tried == 24 and (OFF, AES, CHACHA) == (0, 1, 2), f"{tried} values were checked"
