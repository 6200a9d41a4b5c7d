# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for an agent of Consul, at 10.77.0.21 on the laboratory's bridge.

It is no Consul: there is no package of one to test against. It does what Consul's documentation and sources say of
GET /v1/health/service/NAME and of registering at an agent, and what a user of these can be surprised by:

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

  - PUT /v1/agent/service/register: an ID is unique at the agent, and replaces whatever has it; but a check that is
    there keeps its status. A weight of 0 for Passing is 400 "Invalid Weights", and 0 for Warning is good.
  - PUT /v1/agent/check/pass|warn|fail/ID: the check has that status for its TTL, then it is critical. One that is not
    known is 404 "Unknown check ID", and before version 1.11 500 "does not have associated TTL" (`old`).
  - PUT /v1/agent/service/deregister/ID: one that is not known is 404 "Unknown service ID".
  - An agent that is restarted without its data knows no service, and has the catalog forget those that it had.
  - Without service:write on the service, a PUT is 403 "Permission denied".

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
# The node of the agent itself, and so of what is registered there.
NODE = "n21"


def _duration(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


class Instance:
    def __init__(self, service, node, address, port, node_address, id=None, tags=(), weights=None, index=0):
        self.service, self.node, self.address, self.port = service, node, address, port
        self.node_address = node_address
        self.id = id or service
        self.tags = list(tags)
        self.weights = weights or {"Passing": 1, "Warning": 1}
        self.checks = {SERF: "passing", f"service:{self.id}": "passing"}
        self.index = index
        self.ttl = self.deadline = None  # of what was registered at the agent

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
        self._do(self.server.agent.answer)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._do(lambda path, token: self.server.agent.answer_put(path, body, token))

    def _do(self, answer):
        agent = self.server.agent
        try:
            status, headers, body = answer(self.path, self.headers.get("X-Consul-Token"))
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
        self.namespace = lab.join("consul", 21)
        self.host = self.namespace.v4
        self.changed = threading.Condition()
        self.instances = []
        self.index = 10  # of the catalog
        self.indices = {}  # of services
        self.leader = True
        self.leader_lost = 0
        self.epoch = 0  # counts restores
        self.tokens = None  # None: no ACLs; else {token: services that it may read, and write}
        self.refuses = None  # (status, text) to everybody
        self.refusals = 0  # so many questions get a 500
        self.resets = self.hangs = False
        self.delay = 0
        self.headers = {}  # that replace what would be said; None: left out
        self.jitters = True
        self.questions = []  # paths that were asked
        self.puts = []  # (path, body) of those that came by PUT
        self.old = False  # says of unknown checks what old versions said
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
        threading.Thread(target=self._expire, args=(self.server,), daemon=True).start()

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

    def deregister(self, service, node=None, id=None):
        with self.changed:
            self._touch(service)
            self.instances = [one for one in self.instances
                              if one.service != service or node not in (None, one.node) or id not in (None, one.id)]
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

    def restart_without_data(self):
        """The agent; the servers have theirs."""
        self.stop()
        for one in self.own():
            self.deregister(one.service, NODE)
        self.start()

    def own(self, id=None):
        """What is registered at the agent itself, all or those with this ID."""
        return [one for one in self.instances if one.node == NODE and id in (None, one.id)]

    def statuses(self):
        """Of what is registered at the agent itself: the status of its check by ID."""
        with self.changed:
            return {one.id: one.checks[f"service:{one.id}"] for one in self.own()}

    def lose_leader(self):
        self.change(leader=False, leader_lost=time.monotonic())

    def elect_leader(self):
        self.change(leader=True)

    def restore(self, empty=False):
        """The servers come from a snapshot, perhaps one without instances: indices are lower than they were."""
        with self.changed:
            self.instances = [] if empty else self.instances
            self.index = 3
            self.indices = {service: 2 for service in self.indices}
            self.epoch += 1
            self.changed.notify_all()

    # Questions

    def _misbehave(self, path):
        with self.changed:
            self.questions.append(path)
            while self.hangs:
                self.changed.wait()
            if self.refusals:
                self.refusals -= 1
                raise Refused(500, "rpc error making call: EOF")
        time.sleep(self.delay)

    def answer(self, path, token):
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self._misbehave(path)
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

    # Registering

    def answer_put(self, path, body, token):
        self._misbehave(path)
        with self.changed:
            self.puts.append((path, body))
            self._check({"stale": ""}, token)  # an agent takes it without a leader, too
            words = [urllib.parse.unquote(word) for word in urllib.parse.urlsplit(path).path.split("/")[3:]]
            if words[:2] == ["service", "register"]:
                self._put_service(json.loads(body), token)
            elif words[:2] == ["service", "deregister"]:
                self._drop_service(words[2], token)
            elif words[0] == "check" and words[1] in ("pass", "warn", "fail"):
                self._put_status(words[1], words[2], token)
            else:
                raise Refused(404, "")
        return 200, {}, b""

    def _allow(self, service, token):
        if self.tokens is not None and service not in self.tokens.get(token, ()):
            raise Refused(403, "Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' "
                               f"lacks permission 'service:write' on \"{service}\"")

    def _put_service(self, given, token):
        weights = given.get("Weights") or {"Passing": 1, "Warning": 1}
        if not given.get("Name"):
            raise Refused(400, "Missing service name")
        if weights["Passing"] < 1:
            raise Refused(400, "Invalid Weights: Passing must be greater than 0")
        if given["Check"].get("Status", "critical") not in ("passing", "warning", "critical"):
            raise Refused(400, "Status for checks must 'passing', 'warning', 'critical'")
        self._allow(given["Name"], token)
        made = Instance(given["Name"], NODE, given["Address"], given["Port"], self.host, given.get("ID"),
                        given.get("Tags") or (), weights, self.index + 1)
        check = f"service:{made.id}"
        made.ttl = _duration(given["Check"]["TTL"])
        made.deadline = time.monotonic() + made.ttl
        made.checks[check] = given["Check"].get("Status", "critical")
        for former in self.own(made.id):
            made.checks[check] = former.checks[check]
            self.instances.remove(former)
            self._touch(former.service)
        self.instances.append(made)
        self._touch(made.service)

    def _drop_service(self, id, token):
        for one in self.own(id):
            self._allow(one.service, token)
            self.deregister(one.service, NODE, id)
            return
        raise Refused(404, f'Unknown service ID "{id}". Ensure that the service ID is passed, not the service name.')

    def _put_status(self, verb, check, token):
        for one in self.own():
            if check == f"service:{one.id}":
                self._allow(one.service, token)
                one.deadline = time.monotonic() + one.ttl
                self._set(one, check, {"pass": "passing", "warn": "warning", "fail": "critical"}[verb])
                return
        if self.old:
            raise Refused(500, f'CheckID "{check}" does not have associated TTL')
        raise Refused(404, f'Unknown check ID "{check}". Ensure that the check ID is passed, not the check name.')

    def _set(self, instance, check, status):
        if instance.checks[check] != status:
            instance.checks[check] = status
            self._touch(instance.service)

    def _expire(self, server):
        """Makes critical what was not heard of for its TTL, as long as this server runs."""
        with self.changed:
            while server is self.server:
                now = time.monotonic()
                for one in self.own():
                    if one.deadline <= now:
                        self._set(one, f"service:{one.id}", "critical")
                left = [one.deadline - now for one in self.own() if one.deadline > now]
                self.changed.wait(min(left, default=60))
