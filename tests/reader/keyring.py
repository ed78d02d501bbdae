"""The keyring file, as src/envelope/FORMAT.md says."""

import struct
from dataclasses import dataclass

from .seal import AES, Cursor, FileKey, Refused, crc32c, hkdf_expand, hkdf_extract, vectors

PURPOSES = {1: "aof", 2: "checkpoint", 3: "warm", 4: "cold", 5: "backup", 6: "replication"}
NUMBERS = {purpose: number for number, purpose in PURPOSES.items()}
STATES = {1: "active", 2: "retiring", 3: "destroyed"}


@dataclass
class Dek:
    id: bytes
    purpose: str
    state: str
    algorithm: int
    core: int
    epoch: int
    tenant: bytes
    secret: bytes


def kek_id(kek):
    return hkdf_expand(hkdf_extract(b"", kek), b"ferrite v1 kek id", 8).hex()


def read_kek(raw):
    """The 32 bytes of a Kek's file, which may hold them raw, in hex or in base64."""
    import base64

    if len(raw) == 32:
        return raw
    text = raw.strip()
    if len(text) == 64:
        return bytes.fromhex(text.decode())
    return base64.b64decode(text, validate=True)


def _wrapped_key(kek, wrapped):
    key = FileKey(kek, AES, b"kek-wrap", wrapped[:32], b"")
    if key.commitment != wrapped[32:64]:
        raise Refused("wrapped under another Kek")
    return key


def unwrap(kek, wrapped, aad):
    return _wrapped_key(kek, wrapped).open(0, aad, wrapped[64:-16], wrapped[-16:])


class Keyring:
    """A keyring file, opened."""

    def __init__(self, data, kek):
        self.messages = []
        """Every message sealed in this file, as (key, nonce, ciphertext and tag): for the watch over nonces."""
        if data[:8] != b"FERRKEYS":
            raise Refused("not a keyring")
        c = Cursor(data, 8)
        if c.number(2) != 1:
            raise Refused("version")
        header, body = c.number(4), c.number(4)
        if len(data) != header + body + 20:
            raise Refused("length")
        if struct.pack(">I", crc32c(data[:-4])) != data[-4:]:
            raise Refused("damaged")
        self.generation, self.node = c.number(8), c.take(16)
        self.provider, self.kek_id = c.block().decode(), c.block().decode()
        self.kek_version, self.since = c.number(4), c.number(8)
        wrapped = c.block()
        if c.at != header - 64:
            raise Refused("lengths disagree")
        if self.kek_id != kek_id(kek):
            raise Refused("wrong Kek")
        salt, commitment = c.take(32), c.take(32)
        secret = unwrap(kek, wrapped, b"ferrite keyring\0" + self.node)
        self._note(kek, wrapped)
        self.secret = secret
        key = FileKey(secret, AES, b"keyring", salt, data[: header - 64])
        if key.commitment != commitment:
            raise Refused("altered or put together from several")
        sealed, tag = data[header : header + body], data[header + body : header + body + 16]
        self.messages.append((key.key, key.nonce(0), sealed + tag))
        self.deks = self._deks(Cursor(key.open(0, data[:header], sealed, tag)), kek)

    def _note(self, kek, wrapped):
        key = _wrapped_key(kek, wrapped)
        self.messages.append((key.key, key.nonce(0), wrapped[64:]))

    def _deks(self, c, kek):
        deks = {}
        for _ in range(c.number(4)):
            ident = c.take(16)
            purpose, state, algorithm = c.number(1), c.number(1), c.number(1)
            core, epoch = c.number(2), c.number(4)
            c.take(24)  # made at, bytes and messages sealed
            tenant, _kek_id, _kek_version = c.block(), c.block(), c.number(4)
            wrapped = c.block()
            secret = None
            if STATES[state] != "destroyed":
                aad = (b"ferrite dek\0" + self.node + ident + bytes([purpose, algorithm]) + struct.pack(">HI", core, epoch)
                       + struct.pack(">H", len(tenant)) + tenant)
                secret = unwrap(kek, wrapped, aad)
                self._note(kek, wrapped)
            elif wrapped:
                raise Refused("a destroyed Dek with a secret")
            if ident in deks:
                raise Refused("a Dek twice")
            deks[ident] = Dek(ident, PURPOSES[purpose], STATES[state], algorithm, core, epoch, tenant, secret)
        if not c.ended:
            raise Refused("bytes to spare")
        return deks


def check_vectors(page):
    """Holds this module against the page's own vector."""
    rows = dict(vectors(page))
    assert kek_id(rows["kek"]).encode() == rows["kek id"]
    ring = Keyring(rows["file"], rows["kek"])
    assert ring.secret == rows["keyring secret"] and ring.generation == 7 and ring.node == b"\xee" * 16
    assert [d.id[:1].hex() for d in ring.deks.values()] == ["11", "22", "33"]
    one, two, three = ring.deks.values()
    assert (one.secret, one.purpose, one.core, one.epoch) == (rows["dek 11.. secret"], "aof", 0, 2)
    assert (two.secret, two.purpose, two.tenant, two.algorithm) == (rows["dek 22.. secret"], "checkpoint", b"acme", 2)
    assert three.secret is None and three.state == "destroyed"
