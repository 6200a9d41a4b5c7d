# SPDX-License-Identifier: GPL-2.0-or-later
"""A web server for tests: what it answers can be changed while it runs, and it remembers what it was asked."""

import socket
import ssl
import threading
import time


class Web:
    """Serves HTTP in a namespace, a thread for each connection; closed with the lab."""

    def __init__(self, namespace, port=8080, family=socket.AF_INET, context=None):
        self.status, self.body, self.delay, self.hang = 200, b"all is well\n", 0, False
        self.requests = []
        self.connections = 0
        self.context = context
        with namespace.entered():
            self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((namespace.v6 if family == socket.AF_INET6 else namespace.v4, port))
        self.listener.listen(100)
        self.kept = []
        threading.Thread(target=self._accept, daemon=True).start()
        namespace.lab.keep(self)

    def close(self):
        """No more connections are accepted; those that are open are reset."""
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes up accept()
        self.listener.close()
        for connection in self.kept:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        try:
            if self.hang:
                self.kept.append(connection)
                return
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    more = connection.recv(4096)
                    if not more:
                        return
                    request += more
                self.requests.append(request.decode())
                time.sleep(self.delay)
                head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + self.body)
        except (OSError, ssl.SSLError):
            pass
