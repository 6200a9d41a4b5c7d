# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager as far as sd_notify(3) goes: the socket, and what came in."""

import socket

from waiting import wait_until


class ServiceManager:
    """Listens on a path, or, in a namespace, on an abstract name that begins with "@"."""

    def __init__(self, lab, name=None, namespace=None):
        self.name = name or str(lab.path / "notify.sock")
        if namespace:
            self._socket = namespace.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        else:
            self._socket = lab.keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._socket.setblocking(False)
        self._socket.bind(self.name.replace("@", "\0", 1))
        self.messages = []

    def prefix(self, **variables):
        """Before a command line: it is told of us."""
        return ["env", f"NOTIFY_SOCKET={self.name}", *(f"{key}={value}" for key, value in variables.items())]

    def _read(self):
        while True:
            try:
                text = self._socket.recv(65536).decode()
            except BlockingIOError:
                return
            self.messages.append(dict(line.split("=", 1) for line in text.splitlines()))

    def wait_for(self, condition, timeout=30):
        """Waits for a message for which the condition holds, behind the last one of those; returns it."""
        wait_until(lambda: self._found(condition), timeout, lambda: f"a message such as that, not {self.messages}")
        index = self._found(condition) - 1
        found = self.messages[index]
        del self.messages[: index + 1]
        return found

    def _found(self, condition):
        self._read()
        return next((i for i, message in enumerate(self.messages, 1) if condition(message)), 0)

    def wait_for_key(self, key):
        return self.wait_for(lambda message: key in message)

    def wait_for_status(self, text):
        return self.wait_for(lambda message: text in message.get("STATUS", ""))["STATUS"]
