# SPDX-License-Identifier: GPL-2.0-or-later
"""A real etcd in namespaces of the laboratory: etcd1 is 10.77.0.21 on its bridge, etcd2 10.77.0.22 ..."""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess

from waiting import scaled, wait_until

PORT = 2379


def obstacle():
    """Why etcd cannot be tested here, or None."""
    for tool in ("etcd", "etcdctl"):
        if not shutil.which(tool):
            return f"needs {tool} (scripts/install-deps test)"
    return None


def encode(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Connection(http.client.HTTPConnection):
    """A connection out of a namespace."""

    def __init__(self, namespace, host):
        super().__init__(host, PORT, timeout=scaled(10))
        self.namespace = namespace

    def connect(self):
        with self.namespace.entered():
            self.sock = socket.create_connection((self.host, self.port), self.timeout)


class Member:
    """One member; it runs from start() to stop() or kill()."""

    def __init__(self, cluster, namespace):
        self.cluster = cluster
        self.namespace = namespace
        self.data = cluster.lab.path / f"data-{namespace.role}"
        self.log_path = cluster.lab.path / f"log-{namespace.role}"
        self.process = None

    @property
    def name(self):
        return self.namespace.role

    @property
    def address(self):
        return f"{self.namespace.v4}:{PORT}"

    @property
    def peer(self):
        return f"http://{self.namespace.v4}:2380"

    def start(self):
        url = f"{self.cluster.scheme}://{self.address}"
        arguments = {
            "name": self.name, "data-dir": self.data, "listen-client-urls": url, "advertise-client-urls": url,
            "listen-peer-urls": self.peer, "initial-advertise-peer-urls": self.peer,
            "initial-cluster": ",".join(f"{member.name}={member.peer}" for member in self.cluster.members),
            "heartbeat-interval": 50, "bcrypt-cost": 4, "election-timeout": 500, "logger": "zap", **self.cluster.options,
        }
        log = open(self.log_path, "a")
        # The name of the process after its exec is etcd, too: nobody else's etcd is ever meant.
        self.process = self.namespace.popen(
            "etcd", *(f"--{key}={value}" for key, value in arguments.items()), stdout=log, stderr=log
        )
        log.close()

    def stop(self, wait=True):
        self.process.terminate()
        if wait:
            self.process.wait(scaled(20))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def lose_data(self):
        shutil.rmtree(self.data)

    def cut(self):
        """Takes it off the network."""
        self.cluster.lab.bridge.ip(f"link set {self.name} down")

    def mend(self):
        self.cluster.lab.bridge.ip(f"link set {self.name} up")

    def ask(self, path, body, check=True):
        """One question to the gateway, from the member's own namespace; the parsed answer."""
        connection = Connection(self.namespace, self.namespace.v4)
        try:
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert not check or response.status == 200, answer
            return answer
        finally:
            connection.close()

    def is_leader(self):
        status = self.ask("/v3/maintenance/status", {})
        return status.get("leader") == status["header"]["member_id"]

    def answers(self):
        """Does it serve, with a quorum?"""
        try:
            return "header" in self.ask("/v3/kv/range", {"key": encode("x")}, check=False)
        except (OSError, http.client.HTTPException, ValueError):
            return False


class Cluster:
    """Members and what is done with them. options: more flags of etcd, such as {"auth-token-ttl": 1}."""

    def __init__(self, lab, members=1, tls=None, options=None):
        self.lab = lab
        self.tls = tls
        self.scheme = "https" if tls else "http"
        self.options = {**(tls.server_options if tls else {}), **(options or {})}
        self.members = []
        self.user = None
        for number in range(1, members + 1):
            self.members.append(Member(self, lab.join(f"etcd{number}", 20 + number)))
        for member in self.members:
            member.start()
        self.wait()

    def wait(self):
        """Until all members serve."""
        if self.tls:
            wait_until(lambda: self._healthy(), 30, "etcd with TLS to serve")
            return
        for member in self.members:
            wait_until(member.answers, 30, lambda: f"{member.name} to serve:\n{member.log_path.read_text()[-2000:]}")

    def _healthy(self):
        member = self.members[0]
        done = subprocess.run(
            member.namespace.command("etcdctl", *self._ctl_options(), "endpoint", "health"), env=self._environment(),
            capture_output=True,
        )
        return done.returncode == 0

    def _environment(self):
        return {**{key: value for key, value in os.environ.items() if not key.startswith("ETCD")}, "ETCDCTL_API": "3"}

    def _ctl_options(self):
        options = [f"--endpoints={self.scheme}://{self.members[0].address}"]
        if self.tls:
            options += [f"--cacert={self.tls.ca}", f"--cert={self.tls.cert}", f"--key={self.tls.key}"]
        return options + ([f"--user={self.user}"] if self.user else [])

    def ctl(self, *args):
        """etcdctl, at the first member."""
        return self.members[0].namespace.run("etcdctl", *self._ctl_options(), *args, env=self._environment())

    def uri(self, prefix="services"):
        addresses = ",".join(member.address for member in self.members)
        return f"{'etcds' if self.tls else 'etcd'}://{addresses}/{prefix}"

    @property
    def leader(self):
        return next(member for member in self.members if member.is_leader())

    def put(self, key, value, member=None, lease=None):
        value = value if isinstance(value, (str, bytes)) else json.dumps(value)
        body = {"key": encode(key), "value": encode(value)}
        if lease:
            body["lease"] = lease
        (member or self.members[0]).ask("/v3/kv/put", body)

    def put_many(self, pairs):
        """Many keys, in transactions of 100."""
        pairs = list(pairs)
        for start in range(0, len(pairs), 100):
            puts = [{"request_put": {"key": encode(key), "value": encode(value)}}
                    for key, value in pairs[start:start + 100]]
            self.members[0].ask("/v3/kv/txn", {"success": puts})

    def delete(self, key, member=None):
        (member or self.members[0]).ask("/v3/kv/deleterange", {"key": encode(key)})

    def grant(self, seconds):
        return self.members[0].ask("/v3/lease/grant", {"TTL": str(seconds)})["ID"]

    def compact(self, member=None):
        member = member or self.members[0]
        revision = member.ask("/v3/kv/range", {"key": encode("x")})["header"]["revision"]
        member.ask("/v3/kv/compaction", {"revision": revision, "physical": True})


class Tls:
    """An authority, a certificate of the servers' and one of ours."""

    def __init__(self, path):
        self.path = path
        self.ca, self.cert, self.key = path / "ca.pem", path / "client.pem", path / "client.key"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority",
                      "-keyout", path / "ca.key", "-out", self.ca)
        self.sign("server", "serverAuth,clientAuth", "IP:10.77.0.21,IP:10.77.0.22,IP:10.77.0.23,IP:127.0.0.1")
        self.sign("client", "clientAuth", "DNS:nuncio")
        self.server_options = {
            "cert-file": path / "server.pem", "key-file": path / "server.key", "trusted-ca-file": self.ca,
            "client-cert-auth": "true",
        }

    def sign(self, name, usage, names):
        extensions = self.path / f"{name}.ext"
        extensions.write_text(f"extendedKeyUsage={usage}\nsubjectAltName={names}\n")
        self._openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout",
                      self.path / f"{name}.key", "-out", self.path / f"{name}.csr")
        self._openssl("x509", "-req", "-in", self.path / f"{name}.csr", "-CA", self.ca, "-CAkey", self.path / "ca.key",
                      "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", self.path / f"{name}.pem")

    def _openssl(self, *args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
