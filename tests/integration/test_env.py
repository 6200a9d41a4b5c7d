# SPDX-License-Identifier: GPL-2.0-or-later
"""`nuncio env`: Docker's variables of links."""

import json
import os
import subprocess

import pytest

from daemon import check_clean, command

POSTGRES = """\
MY_DB_PORT=tcp://127.0.0.1:5432
MY_DB_PORT_5432_TCP=tcp://127.0.0.1:5432
MY_DB_PORT_5432_TCP_ADDR=127.0.0.1
MY_DB_PORT_5432_TCP_PORT=5432
MY_DB_PORT_5432_TCP_PROTO=tcp
"""
DNS = """\
DNS_PORT=udp://[fd00:aa::1]:53
DNS_PORT_53_UDP=udp://[fd00:aa::1]:53
DNS_PORT_53_UDP_ADDR=fd00:aa::1
DNS_PORT_53_UDP_PORT=53
DNS_PORT_53_UDP_PROTO=udp
"""
LINKS = "5432=postgres,name=my-db [fd00:aa::1]:53/udp=dns"


def env(*args, links=None):
    """Needs neither root nor a registry; NUNCIO_LINKS as given."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("NUNCIO_")}
    if links:
        variables["NUNCIO_LINKS"] = links
    done = subprocess.run(command("env", *args), capture_output=True, text=True, env=variables)
    check_clean(done.stderr)
    return done


def test_of_the_environment():
    assert env(links=LINKS).stdout == POSTGRES + DNS
    assert env("my-db", links=LINKS).stdout == POSTGRES
    assert env("--hosts", links=LINKS).stdout == "127.0.0.1 my-db\nfd00:aa::1 dns\n"
    # A variable's name cannot begin with a digit.
    assert env(links="80=web,name=1.web").stdout.startswith("_1_WEB_PORT=tcp://127.0.0.1:80\n")


def test_the_shell_takes_them():
    told = env(links=LINKS).stdout
    shown = subprocess.run(["sh", "-c", f"set -eu; {told}\necho $MY_DB_PORT_5432_TCP_ADDR $DNS_PORT"],
                           capture_output=True, text=True, check=True)
    assert shown.stdout == "127.0.0.1 udp://[fd00:aa::1]:53\n"


@pytest.mark.parametrize("args, code, reason", [
    (("other",), 2, "link other is not configured"),
    (("my-db", "other"), 2, "link other is not configured"),
    (("--link", "0=web"), 3, "--link 0=web"),
])
def test_refused(args, code, reason):
    """All or nothing."""
    done = env(*args, links=LINKS)
    assert (done.returncode, done.stdout) == (code, "") and reason in done.stderr


def test_of_a_file(tmp_path):
    """Links in several namespaces, and what flags add."""
    config = tmp_path / "nuncio.json"
    link = {"listen": "80", "service": "web"}
    config.write_text(json.dumps({"registry": "file:x", "links": [link], "ambassadors": [
        {"netns": "/run/netns/app", "links": [dict(link, listen="10.0.0.1:80", name="other")]}]}))
    assert env("-c", config, "--hosts").stdout == "127.0.0.1 web\n10.0.0.1 other\n"
    assert env("-c", config, "--hosts", "--netns", "app").stdout == "10.0.0.1 other\n"
    assert env("-c", config, "--hosts", "--netns", "", "--link", "81=more").stdout == "127.0.0.1 web\n127.0.0.1 more\n"


def test_of_the_daemon(web):
    """Where nothing is said, what runs is asked; where nothing runs, that is said."""
    daemon = web.start("--link", "5432=web,name=my-db", "--link", "[fd00:aa::1]:53/udp=dns")
    assert env("--control", daemon.control).stdout == POSTGRES + DNS
    assert env("--control", daemon.control, "--hosts", "dns").stdout == "fd00:aa::1 dns\n"
    done = env("--control", web.path / "nobody.sock")
    assert done.returncode == 1 and "no nuncio answers" in done.stderr
