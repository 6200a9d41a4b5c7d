# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the integration tests.

    make && pytest-3 tests/integration
    NUNCIO=build-asan/nuncio NUNCIO_TIMEOUT_SCALE=4 pytest-3 tests/integration
    NUNCIO_WRAPPER="valgrind -q --error-exitcode=99 --leak-check=full" NUNCIO_TIMEOUT_SCALE=10 \\
        pytest-3 tests/integration

The tests need root and make network namespaces of their own; where that is impossible they are skipped.
"""

import os
import signal
import subprocess

import pytest

import lab as laboratory
from daemon import NUNCIO


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than ten seconds")
    config.addinivalue_line("markers", "cluster(members, options): the shape of the etcd of the test")
    config.addinivalue_line("markers", "lab(backends, client, second_app): the shape of the test's laboratory")
    # A shell without job control starts what is in its background with SIGINT ignored, which programs inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _ground():
    """What every laboratory stands on."""
    obstacle = laboratory.obstacle()
    if obstacle:
        pytest.skip(obstacle)
    if not os.access(NUNCIO, os.X_OK):
        pytest.fail(f"{NUNCIO} is not there: run make, or set NUNCIO")
    if "NUNCIO_TOOLS" not in os.environ:
        subprocess.run(["make", "-s", "-C", laboratory.REPOSITORY, "tools"], check=True)
    laboratory.sweep()


@pytest.fixture
def lab(request, _ground):
    """Three backends that are not serving yet; @pytest.mark.lab(...) asks for another shape."""
    shape = request.node.get_closest_marker("lab")
    made = laboratory.Lab(**(shape.kwargs if shape else {}))
    yield made
    made.close()


@pytest.fixture
def web(lab):
    """The most common case: three backends that serve, in the registry as service "web"."""
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    return lab
