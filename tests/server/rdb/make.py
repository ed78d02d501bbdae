"""Makes the files beside this one: `python3 make.py PORT`, with a server of the version that is wanted on that port of
loopback, without a password, and empty. It gets the commands of commands.txt and then SAVE; the file is its dump.rdb.

    redis-7.0.rdb    redis-server 7.0.15
    redis-8.2.rdb    redis-server 8.2.3
    valkey-8.0.rdb   valkey-server 8.0.1
    valkey-9.1.rdb   valkey-server 9.1.2

For versions that have fields which expire (Redis 7.4, Valkey 9) `make.py PORT fields` sends two commands more.
"""

import pathlib
import shlex
import socket
import sys

FIELDS = [
    ["HSET", "hash:timed", "f", "v", "g", "w"],
    ["HPEXPIREAT", "hash:timed", "4102444800000", "FIELDS", "1", "f"],
]


def text(length):
    state, out = length, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        out.append(chr(ord("a") + (state >> 16) % 26))
    return "".join(out)


def word(word):
    mark, number = word[:1], word[1:]
    if mark == "~" and number.isdigit():
        return text(int(number))
    if mark == "=" and number.isdigit():
        return "=" * int(number)
    return word


def commands(lines):
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        times = 1
        if line.startswith("@"):
            count, line = line[1:].split(" ", 1)
            times = int(count)
        # As a typed line: \n inside of quotes is the end of a line.
        words = [word(w.replace("\\n", "\n")) for w in shlex.split(line)]
        for n in range(1, times + 1):
            yield [w.replace("%", str(n)) for w in words]


def main():
    here = pathlib.Path(__file__).parent
    todo = list(commands((here / "commands.txt").read_text().splitlines()))
    todo += FIELDS if "fields" in sys.argv else []
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
        reader = server.makefile("rb")
        for args in [*todo, ["SAVE"]]:
            parts = [f"*{len(args)}\r\n".encode()]
            for arg in map(str.encode, args):
                parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
            server.sendall(b"".join(parts))
            if skip(reader):
                sys.exit(f"{args[:3]} was refused")


def skip(reader):
    """Reads a reply; whether it is an error."""
    line = reader.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and int(rest) >= 0:
        reader.read(int(rest) + 2)
    elif kind == b"*":
        for _ in range(int(rest)):
            skip(reader)
    if kind == b"-":
        print(line.decode())
    return kind == b"-"


if __name__ == "__main__":
    main()
