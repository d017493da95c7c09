"""What a build asks the network for: a proxy on this machine that refuses everything and writes down what was asked."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Final

_REQUEST: Final = re.compile(rb"(?P<verb>[A-Z]+) (?P<what>\S{1,2000})")
_ANSWER: Final = b"HTTP/1.1 403 the build may not use the network\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SECONDS: Final = 5.0
_MOST: Final = 1000


class Refuser:
    """Listens on 127.0.0.1. `asked` holds hosts or addresses, in order, without doubles."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._asked: dict[str, None] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(self._asked)

    @property
    def settings(self) -> dict[str, str]:
        """Variables that lead pip, curl, git, CMake and Python's urllib to it."""
        address = f"http://127.0.0.1:{self.port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
        both = dict.fromkeys(names, address) | {name.upper(): address for name in names}
        return both | {"no_proxy": "", "NO_PROXY": ""}

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_SECONDS)
                self._note(connection.recv(4096))
                connection.sendall(_ANSWER)

    def _note(self, head: bytes) -> None:
        match = _REQUEST.match(head)
        if match is not None and len(self._asked) < _MOST:
            what = match["what"].decode("ascii", "replace")
            what = re.sub(r"//[^/@]*@", "//", what).partition("?")[0]  # no passwords in reports
            self._asked[what.removesuffix(":443")] = None


@contextlib.contextmanager
def refusing() -> Iterator[Refuser]:
    """A listener for the time of a build."""
    refuser = Refuser()
    try:
        yield refuser
    finally:
        refuser.close()
