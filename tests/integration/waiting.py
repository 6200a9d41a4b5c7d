# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for conditions, never for seconds."""

import os
import select
import time

SCALE = float(os.environ.get("NUNCIO_TIMEOUT_SCALE", "1"))


def scaled(seconds):
    """A timeout, longer where the binary under test is slower (sanitizers, valgrind)."""
    return seconds * SCALE


def readable(socket):
    """Is there something (data or an error) to read now?"""
    return bool(select.select([socket], [], [], 0)[0])


def wait_until(condition, timeout=15, what=None):
    """Polls condition() until it is true and returns its value; raises AssertionError after `timeout`."""
    deadline = time.monotonic() + scaled(timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            raise AssertionError(f"not within {scaled(timeout):g} s: {what or condition}")
        time.sleep(0.002)
