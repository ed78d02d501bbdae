"""A Redis client of a screenful, for readiness, INFO and loading; the load itself comes from redis-benchmark."""

import socket
import ssl


class ServerError(Exception):
    """An error reply."""


class Client:
    """One connection, plain or TLS. Replies are ints, bytes, None, lists, or ServerError (raised at top level)."""

    def __init__(self, port, ca=None, host="127.0.0.1", timeout=60.0):
        raw = socket.create_connection((host, port), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ca:
            context = ssl.create_default_context(cafile=str(ca))
            context.check_hostname = False
            raw = context.wrap_socket(raw)
        self.socket = raw
        self.buffer = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def encode(*args):
        """One command as RESP."""
        parts = [b"*%d\r\n" % len(args)]
        for arg in args:
            arg = arg if isinstance(arg, bytes) else str(arg).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
        return b"".join(parts)

    def call(self, *args):
        """Sends one command and returns its reply."""
        self.socket.sendall(self.encode(*args))
        reply = self.reply()
        if isinstance(reply, ServerError):
            raise reply
        return reply

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n")
            if end >= 0:
                line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
                return line
            self._more()

    def _more(self):
        got = self.socket.recv(1 << 18)
        if not got:
            raise ConnectionError("the server closed the connection")
        self.buffer += got

    def reply(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ServerError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.buffer) < size + 2:
                self._more()
            body, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
            return body
        if kind == b"*":
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        raise ServerError(f"unexpected reply {line[:80]!r}")

    def info(self, section):
        """One INFO section as a dict of strings."""
        out = {}
        for line in self.call("INFO", section).decode().splitlines():
            name, sep, value = line.partition(":")
            if sep and not line.startswith("#"):
                out[name] = value
        return out

    def pipeline(self, commands, window=2000):
        """Sends an iterable of encoded commands in windows; counts the one-line replies that were not errors."""
        good, batch = 0, []
        for command in commands:
            batch.append(command)
            if len(batch) == window:
                good += self._flush(batch)
                batch = []
        return good + self._flush(batch)

    def _flush(self, batch):
        self.socket.sendall(b"".join(batch))
        while self.buffer.count(b"\r\n") < len(batch):
            self._more()
        lines = self.buffer.split(b"\r\n", len(batch))
        self.buffer = lines.pop()
        return sum(not line.startswith(b"-") for line in lines)
