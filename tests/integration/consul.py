# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for an agent of Consul, at 10.77.0.21 on the laboratory's bridge.

It is no Consul: there is no package of one to test against. It does what Consul's documentation and sources say of
GET /v1/health/service/NAME, and what a user of that can be surprised by:

  - Blocking queries: a question with index=N is kept until the service's index is above N, or `wait` and a random part
    of up to a sixteenth of it are over; then it is answered with whatever there is. Without index, at once.
  - Each service has an index of its own, that of its last change; one that is not known has that of the catalog.
    An index is never 0. When the servers are restored from a snapshot, it goes back, and whoever waits is answered.
  - Without a leader: 500 "No cluster leader", also to those that wait; with `stale` an answer with
    X-Consul-KnownLeader: false and an X-Consul-LastContact that grows.
  - ACLs: an unknown token is 403 "ACL not found", one without a permission sees an empty list, or fewer instances,
    with X-Consul-Results-Filtered-By-ACLs: true.
  - `passing` leaves out all but those that pass, `filter` those that it does not fit (only the form of it that nuncio
    makes of tags), `dc` of an unknown datacenter is 500.

And it can be told to misbehave: to be slow, to hang, to reset connections, to refuse with any status.
"""

import http.server
import json
import random
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse

PORT = 8500
SERF = "serfHealth"


def _duration(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


class Instance:
    def __init__(self, service, node, address, port, node_address, id=None, tags=(), weights=None, index=0):
        self.service, self.node, self.address, self.port = service, node, address, port
        self.node_address = node_address
        self.id = id or service
        self.tags = list(tags)
        self.weights = weights or {"Passing": 1, "Warning": 1}
        self.checks = {SERF: "passing", f"service:{self.id}": "passing"}
        self.index = index

    def passes(self):
        return all(status == "passing" for status in self.checks.values())

    def check(self, name, status):
        own = name != SERF and name != "_node_maintenance"
        return {
            "Node": self.node, "CheckID": name, "Name": "Serf Health Status" if name == SERF else f"Check '{name}'",
            "Status": status, "Notes": "", "Output": "Agent alive and reachable", "ServiceID": self.id if own else "",
            "ServiceName": self.service if own else "", "ServiceTags": self.tags if own else [], "Type": "ttl",
            "Interval": "", "Timeout": "", "ExposedPort": 0, "Definition": {}, "CreateIndex": self.index,
            "ModifyIndex": self.index,
        }

    def json(self, datacenter):
        lan = {"address": self.address, "port": self.port}
        return {
            "Node": {
                "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": self.node, "Address": self.node_address,
                "Datacenter": datacenter, "TaggedAddresses": {"lan": self.node_address, "wan": self.node_address},
                "Meta": {"consul-network-segment": ""}, "CreateIndex": self.index, "ModifyIndex": self.index,
            },
            "Service": {
                "ID": self.id, "Service": self.service, "Tags": self.tags, "Address": self.address,
                "TaggedAddresses": {"lan_ipv4": lan}, "Meta": {}, "Port": self.port, "Weights": self.weights,
                "EnableTagOverride": False, "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {},
                "PeerName": "", "CreateIndex": self.index, "ModifyIndex": self.index,
            },
            "Checks": [self.check(name, status) for name, status in self.checks.items()],
        }


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        agent = self.server.agent
        try:
            status, headers, body = agent.answer(self.path, self.headers.get("X-Consul-Token"))
        except Refused as refused:
            status, headers, body = refused.status, {}, refused.text.encode()
        if agent.resets:
            # With a RST, not with a FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        try:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, str(value))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, agent, tls):
        super().__init__((agent.host, PORT), _Handler, bind_and_activate=False)
        self.agent = agent
        self.connections = set()
        self.socket.close()
        with agent.namespace.entered():
            self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.socket.listen(128)
        self.tls = tls

    def get_request(self):
        connection, address = super().get_request()
        if self.tls:
            # The handshake happens in the thread of the connection, with its first read.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that gave up is nothing to report."""


class Agent:
    def __init__(self, lab, tls=None):
        self.namespace = lab._join("consul", 21)
        self.host = self.namespace.v4
        self.changed = threading.Condition()
        self.instances = []
        self.index = 10  # of the catalog
        self.indices = {}  # of services
        self.leader = True
        self.leader_lost = 0
        self.epoch = 0  # counts restores
        self.tokens = None  # None: no ACLs; else {token: services that it may read}
        self.refuses = None  # (status, text) to everybody
        self.refusals = 0  # so many questions get a 500
        self.resets = self.hangs = False
        self.delay = 0
        self.headers = {}  # that replace what would be said; None: left out
        self.jitters = True
        self.questions = []  # paths that were asked
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls.path / "server.pem", tls.path / "server.key")
            self.tls.load_verify_locations(tls.ca)
            self.tls.verify_mode = ssl.CERT_REQUIRED
        self.server = None
        self.start()

    @property
    def address(self):
        return f"{self.host}:{PORT}"

    def uri(self, query="wait=5s"):
        return f"{'consuls' if self.tls else 'consul'}://{self.address}/?{query}"

    def start(self):
        self.server = _Server(self, self.tls)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        """Ends it, and every connection at once."""
        server, self.server = self.server, None
        if not server:
            return
        server.shutdown()
        server.server_close()
        for connection in list(server.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.change()

    # What happens in the catalog. Whatever is changed by hand: inside `with agent.change():` or followed by it.

    def change(self, **values):
        """Sets attributes, and wakes up whoever waits to look at them."""
        with self.changed:
            for key, value in values.items():
                setattr(self, key, value)
            self.changed.notify_all()

    def _touch(self, service):
        """Something of the service has changed; with the lock held."""
        self.index += 1
        self.indices[service] = self.index
        self.changed.notify_all()

    def register(self, service, node, address, port, node_address="10.77.0.99", **options):
        with self.changed:
            self._touch(service)
            made = Instance(service, node, address, port, node_address, index=self.index, **options)
            self.instances = [other for other in self.instances if (other.node, other.id) != (node, made.id)]
            self.instances.append(made)

    def deregister(self, service, node=None):
        with self.changed:
            self._touch(service)
            self.instances = [one for one in self.instances if one.service != service or node not in (None, one.node)]
            if not any(one.service == service for one in self.instances):
                del self.indices[service]

    def check(self, service, node, name, status):
        """A check's status; "service" is the one of the service's own; None takes it away."""
        with self.changed:
            self._touch(service)
            for one in self.instances:
                if (one.service, one.node) == (service, node):
                    name = f"service:{one.id}" if name == "service" else name
                    one.checks.pop(name, None)
                    if status:
                        one.checks[name] = status

    def touch(self, service):
        """Its index moves, and nothing else."""
        with self.changed:
            self._touch(service)

    def lose_leader(self):
        self.change(leader=False, leader_lost=time.monotonic())

    def elect_leader(self):
        self.change(leader=True)

    def restore(self):
        """The servers come from a snapshot: indices are lower than they were."""
        with self.changed:
            self.index = 3
            self.indices = {service: 2 for service in self.indices}
            self.epoch += 1
            self.changed.notify_all()

    # Questions

    def answer(self, path, token):
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        with self.changed:
            self.questions.append(path)
            while self.hangs:
                self.changed.wait()
            if self.refusals:
                self.refusals -= 1
                raise Refused(500, "rpc error making call: EOF")
        time.sleep(self.delay)
        prefix = "/v1/health/service/"
        if not url.path.startswith(prefix):
            raise Refused(404, "")
        service = urllib.parse.unquote(url.path[len(prefix):])
        with self.changed:
            self._check(query, token)
            self._block(service, query)
            self._check(query, token)
            return self._list(service, query, token)

    def _check(self, query, token):
        if self.refuses:
            raise Refused(*self.refuses)
        if self.tokens is not None and token is not None and token not in self.tokens:
            raise Refused(403, "ACL not found")
        if query.get("dc", "dc1") != "dc1":
            raise Refused(500, "No path to datacenter")
        if not self.leader and "stale" not in query:
            raise Refused(500, "No cluster leader")

    def _index(self, service):
        return max(1, self.indices.get(service, self.index))

    def _block(self, service, query):
        asked = int(query.get("index", 0))
        if not asked:
            return
        wait = min(_duration(query.get("wait", "5m")), 600)
        deadline = time.monotonic() + wait + (random.uniform(0, wait / 16) if self.jitters else 0)
        epoch, server = self.epoch, self.server
        while self._index(service) <= asked and epoch == self.epoch and server is self.server and not self.resets:
            left = deadline - time.monotonic()
            if left <= 0 or self.refuses or (not self.leader and "stale" not in query):
                return
            self.changed.wait(left)

    def _list(self, service, query, token):
        found = [one for one in self.instances if one.service == service]
        filtered = self.tokens is not None and found and service not in self.tokens.get(token, ())
        if filtered:
            found = []
        if "passing" in query:
            found = [one for one in found if one.passes()]
        for tag in self._tags(query.get("filter")):
            found = [one for one in found if tag in one.tags]
        headers = {
            "Content-Type": "application/json", "Vary": "Accept-Encoding", "X-Consul-Index": self._index(service),
            "X-Consul-KnownLeader": "true" if self.leader else "false",
            "X-Consul-LastContact": 0 if self.leader else int((time.monotonic() - self.leader_lost) * 1000),
            "X-Consul-Effective-Consistency": "stale" if "stale" in query else "leader",
            "X-Consul-Query-Backend": "blocking-query",
        }
        if filtered:
            headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
        headers = {key: value for key, value in {**headers, **self.headers}.items() if value is not None}
        return 200, headers, json.dumps([one.json("dc1") for one in found]).encode()

    @staticmethod
    def _tags(text):
        if not text:
            return []
        tags = [re.fullmatch(r'Service\.Tags contains "([^"]*)"', part) for part in text.split(" and ")]
        if None in tags:
            raise Refused(400, "Failed to create boolean expression evaluator")
        return [tag.group(1) for tag in tags]
