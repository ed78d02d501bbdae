"""The sealed export, as src/transfer/FORMAT.md says."""

from .keyring import kek_id, unwrap
from .seal import AES, CHACHA, Cursor, FileKey, Refused, vectors

CHUNK = 65536


def open_export(data, kek):
    """The content of a sealed export."""
    if data[:8] != b"FERREXPT":
        raise Refused("not a sealed export")
    c = Cursor(data, 8)
    if c.number(2) != 1:
        raise Refused("version")
    header, algorithm = c.number(4), c.number(1)
    if header > 8192 or algorithm not in (AES, CHACHA):
        raise Refused("header")
    ident, _made_at = c.take(16), c.number(8)
    _provider, wanted, _version = c.block(), c.block().decode(), c.number(4)
    wrapped = c.block()
    if c.at != header - 64:
        raise Refused("lengths disagree")
    if wanted != kek_id(kek):
        raise Refused("wrong Kek")
    dek = unwrap(kek, wrapped, b"ferrite export\0" + ident + bytes([algorithm]))
    salt, commitment = c.take(32), c.take(32)
    key = FileKey(dek, algorithm, b"export", salt, data[: header - 64])
    if key.commitment != commitment:
        raise Refused("altered")
    out, counter = [], 0
    while True:
        sealed = c.take(min(CHUNK + 16, len(data) - c.at))
        out.append(key.open(counter, bytes([c.ended]), sealed[:-16], sealed[-16:]))
        counter += 1
        if c.ended:
            return b"".join(out)


def check_vectors(page):
    """Holds this module against the page's own vector."""
    rows = dict(vectors(page))
    assert open_export(rows["file"], rows["kek"]) == rows["content"]
    cut = rows["file"][:-1]
    try:
        open_export(cut, rows["kek"])
    except Refused:
        return
    raise AssertionError("a file that was cut is opened")
