# SPDX-License-Identifier: GPL-2.0-or-later
"""`make install`: what is there works, and `make uninstall` leaves nothing behind."""

import json
import re
import shutil
import subprocess

import pytest

from daemon import NUNCIO, REPOSITORY, command
from waiting import wait_until

UNITS = ("nuncio.service", "nuncio@.service", "nuncio-announce@.service")


def make(target, root):
    subprocess.run(["make", "-s", "-C", REPOSITORY, target, f"DESTDIR={root}", "PREFIX=/usr"], check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    make("install", root)
    return root


def tables():
    """The program's options and keys, as lists of words."""
    told = subprocess.run(command("help", "tables"), capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in told.splitlines()]


def test_manual_pages_have_everything(installed):
    """Each option and key is in its page, and a page has no other."""
    pages = {page.name: page.read_text() for page in (installed / "usr/share/man").glob("man*/*")}
    options, keys = {"nuncio.8": set(), "nuncio-announce.8": set()}, set()
    for kind, owner, name, *_ in tables():
        if kind == "option":
            options["nuncio-announce.8" if owner == "announce" else "nuncio.8"].add(name)
        elif kind == "key":
            keys.add(name)
    assert set(re.findall(r"^\.It Cm (\w+)$", pages["nuncio.json.5"], re.MULTILINE)) == keys
    for page, expected in options.items():
        assert set(re.findall(r"^\.It .*Fl -([\w-]+)", pages[page], re.MULTILINE)) == expected, page
    assert not re.search(r"^@", "\n".join(pages.values()), re.MULTILINE), "something was not filled in"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(installed, shell):
    if not shutil.which(shell):
        pytest.skip(f"needs the command '{shell}'")
    path = {"bash": "bash-completion/completions/nuncio", "zsh": "zsh/site-functions/_nuncio"}[shell]
    script = installed / "usr/share" / path
    subprocess.run([shell, "-n", script], check=True)
    if shell == "bash":
        asked = f"source {script}; COMP_WORDS=(nuncio announce --check); COMP_CWORD=2; _nuncio; echo ${{COMPREPLY[*]}}"
        told = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        assert told.stdout == "--check --check-interval\n", told.stderr


def complete(script, binaries, *words):
    """What bash offers for the last of these words."""
    asked = f"""PATH={binaries}:$PATH; source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nuncio
                printf '%s\\n' "${{COMPREPLY[@]}}\""""
    told = subprocess.run(["bash", "-c", asked, "bash", *map(str, words)], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    return told.stdout.split()


def test_completion_of_names(web, installed):
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=other")
    script = installed / "usr/share/bash-completion/completions/nuncio"
    binaries = web.path / "bin"
    binaries.mkdir()
    (binaries / "nuncio").symlink_to(NUNCIO)
    asked = ("--control", daemon.control)
    assert complete(script, binaries, "nuncio", "status", *asked, "") == ["web", "other"]
    assert complete(script, binaries, "nuncio", "events", *asked, "o") == ["other"]
    assert complete(script, binaries, "nuncio", "drain", *asked, "web", "") == ["b1", "b2", "b3"]
    assert complete(script, binaries, "nuncio", "weight", *asked, "web", "b2", "") == []
    assert complete(script, binaries, "nuncio", "wait", *asked, "web", "") == ["web", "other"]
    daemon.stop()
    assert complete(script, binaries, "nuncio", "status", *asked, "") == []


def test_example_runs(lab, installed):
    """The configuration as it is installed has no links yet; with its example, it has one."""
    config = installed / "etc/nuncio/nuncio.json"
    daemon = lab.start("-c", config, registry=False)
    assert daemon.status()["ambassadors"] == []
    assert daemon.ask("status") == "no links\n"
    lab.serve()
    (lab.path / "services.d").mkdir()
    (lab.path / "services.d/postgres").write_text(f"{lab.backends[0].v4}:8080\n")
    edited = lab.path / "nuncio.json"
    edited.write_text(config.read_text().replace("// {", "{").replace("/etc/nuncio/services.d", f"{lab.path}/services.d"))
    daemon.stop()
    daemon = lab.start("-c", edited, registry=False)
    assert lab.app.reaches("127.0.0.1:5432")
    # The last link goes by a reload, and its rules with it.
    edited.write_text(json.dumps({"links": []}))
    with daemon.logs("reload: the new configuration is in force"):
        daemon.kill(1)
    wait_until(lambda: not lab.app.table())


@pytest.mark.parametrize("unit", UNITS)
def test_units(installed, unit):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs the command 'systemd-analyze'")
    path = installed / "usr/lib/systemd/system" / unit
    told = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", path],
                          capture_output=True, text=True, check=True).stdout
    exposure = float(re.search(r"Overall exposure level for .*: ([\d.]+)", told).group(1))
    assert exposure <= 2.0, told


def test_uninstall(installed):
    changed = installed / "etc/nuncio/nuncio.json"
    changed.write_text(changed.read_text() + "\n")
    make("uninstall", installed)
    assert [path for path in installed.rglob("*") if not path.is_dir()] == [changed]
    shutil.copy(REPOSITORY / "doc/nuncio.json", changed)
    make("uninstall", installed)
    assert not (installed / "etc/nuncio").exists()
