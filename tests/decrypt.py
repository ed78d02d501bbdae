"""Opens logs, checkpoints and exports that Ferrite wrote, with nothing but the Kek and the FORMAT.md pages.

    decrypt.py DATA_DIR KEK_FILE      JSON lines: the checkpoint gone on from (0: none), every record in order, then
                                      the state they make
    decrypt.py --export FILE KEK_FILE     the content of a sealed export, an RDB file, to standard output
    decrypt.py --vectors SRC_DIR      holds this reader against the test vectors of the pages
    decrypt.py --nonces KEK_FILE DIR...   reads copies of data directories, taken at any time of any of them: no
                                      (key, nonce) may stand over two different messages
"""

import json
import os
import sys

from reader import checkpoint, export, keyring, log, seal
from reader.effects import Store


def open_ring(data_dir, kek_file):
    with open(kek_file, "rb") as f:
        kek = keyring.read_kek(f.read())
    with open(os.path.join(data_dir, "keyring"), "rb") as f:
        return keyring.Keyring(f.read(), kek)


def listing(data_dir, kek_file):
    store = Store()
    ring = open_ring(data_dir, kek_file)
    base, records = checkpoint.recover(data_dir, ring, log.Reader(data_dir, ring))
    print(json.dumps({"checkpoint": base.number}))

    def plain(field):
        return field.hex() if isinstance(field, bytes) else field

    for run, core, lsn, whole, effect in records:
        store.apply(effect)
        print(json.dumps({"run": run, "core": core, "lsn": lsn, "transaction": whole, "effect": [plain(f) for f in effect]}))
    for (db, key), (value, expire) in sorted(store.keys.items()):
        print(json.dumps({"db": db, "key": key.hex(), "value": value.hex(), "expire": expire}))


def check(src):
    def page(name):
        with open(os.path.join(src, name, "FORMAT.md")) as f:
            return f.read()

    seal.check_vectors(page("seal"))
    keyring.check_vectors(page("envelope"))
    log.check_vectors(page("log"))
    checkpoint.check_vectors(page("checkpoint"))
    export.check_vectors(page("transfer"))
    print("all vectors agree")


class Watch:
    """Remembers every message by key and nonce."""

    def __init__(self):
        self.seen, self.reused = {}, []

    def note(self, key, nonce, message):
        before = self.seen.setdefault((key, nonce), message)
        if before != message:
            self.reused.append((key, nonce))


def nonces(kek_file, directories):
    watch = Watch()
    # It must see a reuse when there is one, or it proves nothing.
    probe = Watch()
    probe.note(b"k", b"n", b"a"), probe.note(b"k", b"n", b"a"), probe.note(b"k", b"m", b"b")
    assert not probe.reused
    probe.note(b"k", b"n", b"c")
    assert probe.reused
    for directory in directories:
        ring = open_ring(directory, kek_file)
        before = len(watch.seen)
        for message in ring.messages:
            watch.note(*message)
        for reader in (log.Reader(directory, ring), checkpoint.Directory(directory, ring)):
            for message in reader.messages():
                watch.note(*message)
        print(f"{directory}: {len(watch.seen) - before} messages not seen before")
    keys = len({key for key, _ in watch.seen})
    print(f"{len(watch.seen)} messages under {keys} keys, {len(watch.reused)} nonces used twice")
    if watch.reused:
        sys.exit(1)


def main():
    match sys.argv[1:]:
        case ["--vectors", src]:
            check(src)
        case ["--nonces", kek_file, *directories] if directories:
            nonces(kek_file, directories)
        case ["--export", file, kek_file]:
            with open(file, "rb") as f, open(kek_file, "rb") as k:
                sys.stdout.buffer.write(export.open_export(f.read(), keyring.read_kek(k.read())))
        case [data_dir, kek_file]:
            try:
                listing(data_dir, kek_file)
            except seal.Refused as why:
                sys.exit(f"refused: {why}")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
