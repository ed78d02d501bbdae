"""Sealing, as src/seal/FORMAT.md says."""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

OFF, AES, CHACHA = 0, 1, 2


class Refused(Exception):
    """What is read is not what the format says."""


def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ 0x82F63B78 if i & 1 else i >> 1
        table.append(i)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def hkdf_extract(salt, ikm):
    # RFC 5869: an absent salt is a string of zeros as long as the hash.
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(ikm)
    return mac.finalize()


def hkdf_expand(prk, info, length):
    return HKDFExpand(hashes.SHA256(), length, info).derive(prk)


class FileKey:
    """Key, base nonce and commitment of one file."""

    def __init__(self, secret, algorithm, label, salt, bound):
        if algorithm not in (OFF, AES, CHACHA):
            raise Refused(f"algorithm {algorithm}")
        if algorithm == OFF:
            secret = bytes(32)
        prk = hkdf_extract(salt, secret)
        info = b"ferrite v1\0" + bytes([len(label)]) + label + bytes([algorithm]) + struct.pack(">I", len(bound)) + bound
        self.algorithm = algorithm
        self.key = hkdf_expand(prk, info + b"\x01", 32)
        self.base_nonce = hkdf_expand(prk, info + b"\x02", 12)
        self.commitment = hkdf_expand(prk, info + b"\x03", 32)
        self.aead = {AES: AESGCM, CHACHA: ChaCha20Poly1305}.get(algorithm, lambda _: None)(self.key)

    def nonce(self, counter):
        low = int.from_bytes(self.base_nonce[4:], "big") ^ counter
        return self.base_nonce[:4] + low.to_bytes(8, "big")

    def open(self, counter, aad, ciphertext, tag):
        nonce = self.nonce(counter)
        if self.algorithm == OFF:
            if struct.pack(">I", crc32c(nonce + aad + ciphertext)) + bytes(12) != tag:
                raise Refused("checksum")
            return ciphertext
        try:
            return self.aead.decrypt(nonce, ciphertext + tag, aad)
        except InvalidTag:
            raise Refused("does not authenticate") from None

    def seal(self, counter, aad, plaintext):
        """Only for the test vectors."""
        nonce = self.nonce(counter)
        if self.algorithm == OFF:
            return plaintext, struct.pack(">I", crc32c(nonce + aad + plaintext)) + bytes(12)
        both = self.aead.encrypt(nonce, plaintext, aad)
        return both[:-16], both[-16:]


class Cursor:
    """Reads fields off bytes; refuses to read past the end."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, n):
        if self.at + n > len(self.data):
            raise Refused(f"{n} bytes wanted at {self.at}, {len(self.data) - self.at} are there")
        piece = self.data[self.at : self.at + n]
        self.at += n
        return piece

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def block(self):
        return self.take(self.number(2))

    @property
    def ended(self):
        return self.at == len(self.data)


def vectors(page):
    """The `vectors` block of a FORMAT.md: a list of (name, hex bytes), in order."""
    text = page.split("```vectors\n", 1)[1].split("```", 1)[0]
    out = []
    for line in text.splitlines():
        if line.startswith(" "):
            name, value = out.pop()
            out.append((name, value + line.strip()))
        elif line.strip():
            name, _, value = line.partition(" = ")
            out.append((name, value.strip()))
    return [(name, bytes.fromhex(value)) for name, value in out]


def check_vectors(page):
    """Holds this module against the page's own vectors."""
    rows = vectors(page)
    common = {}
    tried = 0
    key = None
    for name, value in rows:
        if name == "algorithm":
            key = FileKey(common["dek"], value[0], common["label"], common["salt"], common["bound"])
            counter = int.from_bytes(common["counter"], "big")
            ciphertext, tag = key.seal(counter, common["aad"], common["plaintext"])
            have = {"key": key.key, "base nonce": key.base_nonce, "commitment": key.commitment,
                    "nonce": key.nonce(counter), "ciphertext": ciphertext, "tag": tag}
            assert key.open(counter, common["aad"], ciphertext, tag) == common["plaintext"]
        elif key is None:
            common[name] = value
        else:
            assert have[name] == value, f"{name} under algorithm {key.algorithm}: {have[name].hex()} against {value.hex()}"
            tried += 1
    assert tried >= 15, f"only {tried} values were checked"
