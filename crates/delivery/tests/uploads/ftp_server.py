"""An FTP server for tests: pyftpdlib, with faults on demand.

ftp_server.py ROOT {plain|explicit|implicit} CERTIFICATE [FAULT ...]; prints its port.
Faults: cut=BYTES,... (each closes one session after so many bytes of data), full=BYTES (no space beyond), wrong=BYTES (one file's
end is lost and its size with it), hash (offers HASH), flip (the first file has one wrong byte), readonly.
"""

import errno
import hashlib
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

root, kind, certificate = sys.argv[1:4]
faults = dict(word.partition("=")[::2] for word in sys.argv[4:])
cuts = [int(n) for n in faults.get("cut", "").split(",") if n]
flips = [1] if "flip" in faults else []


class Disk:
    def __init__(self, file):
        self.file, self.name = file, file.name

    def write(self, data):
        if "full" in faults and self.file.tell() + len(data) > int(faults["full"]):
            raise OSError(errno.ENOSPC, "No space left on device")
        if flips:
            flips.pop()
            data = bytes([data[0] ^ 1]) + data[1:]
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


class Files(AbstractedFS):
    def open(self, filename, mode):
        file = super().open(filename, mode)
        return Disk(file) if "r" not in mode or "+" in mode else file


def cutting(base):
    class Data(base):
        def recv(self, size):
            chunk = super().recv(size)
            self.taken = getattr(self, "taken", 0) + len(chunk)
            if cuts and self.taken > cuts[0]:
                cuts.pop(0)
                # As when the link is cut: nobody says anything.
                self.cmd_channel.close()
                self.close()
                return b""
            return chunk

    return Data


secure = kind != "plain"
Base = TLS_FTPHandler if secure else FTPHandler


class Handler(Base):
    dtp_handler = cutting(TLS_DTPHandler if secure else DTPHandler)
    abstracted_fs = Files
    proto_cmds = dict(Base.proto_cmds)
    if "hash" in faults:
        proto_cmds["HASH"] = dict(perm="l", auth=True, arg=True, help="Syntax: HASH <SP> file")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if "hash" in faults and self.connected:
            self._extra_feats = list(getattr(self, "_extra_feats", [])) + ["HASH SHA-256*"]

    def ftp_OPTS(self, line):
        if line.upper() == "HASH SHA-256":
            self.respond("200 SHA-256")
        else:
            super().ftp_OPTS(line)

    def ftp_HASH(self, path):
        with open(path, "rb") as file:
            self.respond("213 SHA-256 0-1 %s file" % hashlib.sha256(file.read()).hexdigest())

    if kind == "implicit":

        def handle(self):
            self.secure_connection(self.get_ssl_context())

        def handle_ssl_established(self):
            FTPHandler.handle(self)


if secure:
    Handler.certfile = certificate
    Handler.tls_control_required = True
    Handler.tls_data_required = True
Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user("ann", "s3cret päss", root, perm="elr" if "readonly" in faults else "elradfmwMT")
server = FTPServer(("127.0.0.1", 0), Handler)
print(server.socket.getsockname()[1], flush=True)
server.serve_forever()
