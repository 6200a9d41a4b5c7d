# SPDX-License-Identifier: GPL-2.0-or-later
"""Chromium without a window, driven over a pipe: the DevTools protocol, a JSON object and a NUL byte each way."""

import base64
import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

from waiting import scaled, wait_until

# It is to talk to nobody but the page.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def obstacle():
    """Why there can be none here, or None."""
    return None if shutil.which("chromium") else "needs the command 'chromium'"


class Browser:
    """One page. close() must be called. `namespace` is that of lab.py, or None."""

    def __init__(self, namespace=None, width=1280, height=900):
        self.profile = tempfile.mkdtemp(prefix="nt-chromium-")
        theirs_in, self.out = os.pipe()
        self.into, theirs_out = os.pipe()
        # The protocol's descriptors are 3 and 4.
        argv = ["bash", "-c", f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out}', "chromium", *OPTIONS,
                f"--user-data-dir={self.profile}", f"--window-size={width},{height}", "about:blank"]
        self.process = subprocess.Popen(
            namespace.command(*argv) if namespace else argv, pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers, self._buffer, self.session = itertools.count(1), b"", None
        self.messages = []  # what the page's console said, and what failed
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def _receive(self):
        deadline = time.monotonic() + scaled(30)
        while b"\0" not in self._buffer:
            assert time.monotonic() < deadline, "Chromium does not answer"
            if select.select([self.into], [], [], 1)[0]:
                part = os.read(self.into, 1 << 20)
                assert part, "Chromium has ended"
                self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.messages.append(answer["params"])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'", 20)

    def evaluate(self, expression):
        """The value of an expression in the page, as JSON can have it."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression, timeout=30):
        """Waits until it is true; what it asks for need not be there before."""
        return wait_until(
            lambda: self.evaluate(f"(() => {{ try {{ return {expression} }} catch (e) {{ return false }} }})()"), timeout,
            lambda: f"{expression} in the page:\n{self.evaluate('document.body.innerText')}\n{self.messages}")

    def shape(self, width, height, dark=False, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        os.close(self.out)  # it ends when nobody drives it any more
        try:
            self.process.wait(scaled(10))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.into)
        shutil.rmtree(self.profile, ignore_errors=True)
