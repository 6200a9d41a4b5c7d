# SPDX-License-Identifier: GPL-2.0-or-later
"""The file registry: its forms, its ways of being written, and what is wrong with it, which harms nobody else."""

import json
import re

import pytest

from daemon import Registry
from waiting import wait_until

EVEN = {"b1": 100, "b2": 100, "b3": 100}


def check(lab, expected, target="127.0.0.1:9000"):
    """As many requests as expected in all go where they should."""
    result = lab.app.hammer(target, count=sum(expected.values()))
    assert result["by"] == expected, result


@pytest.mark.parametrize("in_place", [False, True], ids=["rename", "in-place"])
def test_a_write_is_applied(web, in_place):
    daemon = web.start("--link", "9000=web")
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]}, in_place)
    check(web, {"b1": 50, "b2": 50})
    with daemon.logs(r"link web:.*\+b3"):
        web.registry.write({"web": web.endpoints()}, in_place)
    check(web, EVEN)


def test_a_slow_write_in_place_is_applied_when_it_parses(web):
    daemon = web.start("--link", "9000=web")
    text = json.dumps({"web": web.endpoints()[:2]})
    with daemon.logs(r"link web:.*-b3"):
        with open(web.registry.path, "w") as file:
            for start in range(0, len(text), 10):
                file.write(text[start:start + 10])
                file.flush()
            check(web, EVEN)
    check(web, {"b1": 50, "b2": 50})


BROKEN = {
    "json": '{"web": [',
    "empty": "",
    "blank": " \n",
    "list": '["10.77.0.11:8080"]',
    "binary": "\x00\x01\x02",
    "trailing": '{"web": []} x',
}


@pytest.mark.parametrize("in_place", [False, True], ids=["rename", "in-place"])
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_keeps_the_endpoints(web, text, in_place):
    daemon = web.start("--link", "9000=web", "--link", "9001=web,name=other")
    with daemon.logs(re.escape(str(web.registry.path))):
        web.registry.write(text, in_place)
    check(web, EVEN)
    check(web, EVEN, "127.0.0.1:9001")
    assert daemon.links()["web"]["state"] == "stale"
    assert not daemon.status()["registries"][0]["connected"]
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]}, in_place)
    check(web, {"b1": 50, "b2": 50})
    assert daemon.links()["web"]["state"] == "serving"


def test_broken_json_is_located(web):
    daemon = web.start("--link", "9000=web")
    with daemon.logs(r"services\.json:3\b|services\.json.*line 3\b"):
        web.registry.write('{\n  "web": [\n    {"host": 10.77.0.11}\n  ]\n}\n')


def test_a_broken_file_is_logged_once(web):
    daemon = web.start("--link", "9000=web")
    with daemon.logs(re.escape(str(web.registry.path))):
        web.registry.write("{")
    since = len(daemon.log())
    for _ in range(3):
        web.registry.write("{")
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})
    assert len(re.findall(r"(?i)line|parse|expected", daemon.log(since))) <= 1


def test_a_deleted_file_keeps_the_endpoints_and_comes_back(web):
    daemon = web.start("--link", "9000=web")
    with daemon.logs(re.escape(str(web.registry.path))):
        web.registry.path.unlink()
    check(web, EVEN)
    for endpoints, expected in ((web.endpoints()[:2], {"b1": 50, "b2": 50}), (web.endpoints(), EVEN)):
        with daemon.logs("link web:"):
            web.registry.write({"web": endpoints}, in_place=True)
        check(web, expected)


def test_a_file_that_comes_after_the_start(lab):
    lab.serve()
    daemon = lab.start("--link", "9000=web", wait=False)
    daemon.wait_for_log(re.escape(str(lab.registry.path)))
    assert lab.app.hammer("127.0.0.1:9000", count=1)["errors"] == {"connect: Connection refused": 1}
    lab.registry.write({"web": lab.endpoints()})
    wait_until(lambda: lab.app.reaches("127.0.0.1:9000"))
    check(lab, EVEN)


def test_a_directory_that_comes_after_the_start(lab):
    """As with a volume that is mounted later: not even the file's directory is there yet."""
    lab.serve()
    lab.registry = Registry(lab.path / "later" / "services.json")
    daemon = lab.start("--link", "9000=web", wait=False)
    daemon.wait_for_log(re.escape(str(lab.registry.path)))
    lab.registry.path.parent.mkdir()
    lab.registry.write({"web": lab.endpoints()})
    wait_until(lambda: lab.app.reaches("127.0.0.1:9000"), 10)
    check(lab, EVEN)


def test_a_symbolic_link_that_is_turned(web):
    """As a Kubernetes ConfigMap is updated: the file is a link through "..data", which is exchanged."""
    for version, endpoints in (("one", web.endpoints()), ("two", web.endpoints()[:2])):
        (web.path / version).mkdir()
        (web.path / version / "services.json").write_text(json.dumps({"web": endpoints}))
    (web.path / "..data").symlink_to("one")
    web.registry.path.unlink()
    web.registry.path.symlink_to("..data/services.json")
    daemon = web.start("--link", "9000=web")
    check(web, EVEN)
    with daemon.logs(r"link web:.*-b3"):
        (web.path / "..data_tmp").symlink_to("two")
        (web.path / "..data_tmp").rename(web.path / "..data")
    check(web, {"b1": 50, "b2": 50})


# A record, and what its message has to say.
BAD_RECORDS = {
    "address": ({"id": "bad", "host": "10.1.0.300", "port": 80}, r"10\.1\.0\.300"),
    "address-text": ("10.1.0.300:80", r"10\.1\.0\.300"),
    "port-zero": ({"id": "bad", "host": "10.77.0.9", "port": 0}, r"port.*\b0\b"),
    "port-zero-text": ("10.77.0.9:0", r"10\.77\.0\.9:0"),
    "port-large": ({"id": "bad", "host": "10.77.0.9", "port": 65536}, r"65536"),
    "port-text": ({"id": "bad", "host": "10.77.0.9", "port": "http"}, r"http"),
    "no-port": ({"id": "bad", "host": "10.77.0.9"}, r"port"),
    "no-host": ({"id": "bad", "port": 80}, r"host"),
    "weight": ({"id": "bad", "host": "10.77.0.9", "port": 80, "weight": -1}, r"weight.*-1"),
    "weight-large": ({"id": "bad", "host": "10.77.0.9", "port": 80, "weight": 70000}, r"weight.*70000"),
    "weight-part": ({"id": "bad", "host": "10.77.0.9", "port": 80, "weight": 1.5}, r"weight.*1\.5"),
    "priority": ({"id": "bad", "host": "10.77.0.9", "port": 80, "priority": "high"}, r"priority.*high"),
    "number": (42, r"42"),
    "null": (None, r"null"),
    "same-id": ({"id": "b1", "host": "10.77.0.9", "port": 80}, r"b1"),
    "same-address": ({"id": "bad", "host": "10.77.0.11", "port": 8080}, r"10\.77\.0\.11:8080"),
    "any": ({"id": "bad", "host": "0.0.0.0", "port": 80}, r"0\.0\.0\.0"),
    "multicast": ({"id": "bad", "host": "224.0.0.1", "port": 80}, r"224\.0\.0\.1"),
    "long-id": ({"id": "x" * 300, "host": "10.77.0.9", "port": 80}, r"\bid\b"),
    "control": ({"id": "a\nb", "host": "10.77.0.9", "port": 80}, r"\bid\b"),
}


@pytest.mark.parametrize("record, message", BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_a_bad_record_is_skipped(web, record, message):
    one, two, three = web.endpoints()
    web.registry.write({"web": [one, record, two, three], "other": [one]})
    daemon = web.start("--link", "9000=web", "--link", "9001=other")
    assert re.search(rf"services\.json.*web.*{message}", daemon.log())
    check(web, EVEN)
    check(web, {"b1": 10}, "127.0.0.1:9001")
    # It comes again with every read, but is news only once.
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": [one, record, two], "other": [one]})
    assert len(re.findall(rf"services\.json.*web.*{message}", daemon.log())) == 1


def test_a_service_that_is_not_a_list_harms_no_other(web):
    daemon = web.start("--link", "9000=web", "--link", "9001=other")
    with daemon.logs(r"services\.json.*web", r"link other:.*\+b1"):
        web.registry.write({"web": 5, "other": web.endpoints()[:1]})
    check(web, EVEN)
    check(web, {"b1": 10}, "127.0.0.1:9001")


def test_forms_of_a_record(lab):
    lab.serve()
    lab.registry.write({"web": [
        "10.77.0.11:8080",
        {"host": "10.77.0.12", "port": 8080},
        {"host": "10.77.0.13", "port": 8080, "weight": 2, "id": "db-3", "zone": "a"},
    ]})
    daemon = lab.start("--link", "9000=web")
    assert set(daemon.endpoints("web")) == {"10.77.0.11:8080", "10.77.0.12:8080", "db-3"}
    check(lab, {"b1": 10, "b2": 10, "b3": 20})


def test_a_directory(lab):
    """A file per service: JSON, or lines."""
    lab.serve()
    services = lab.path / "services"
    services.mkdir()
    (services / "web.json").write_text(json.dumps(lab.endpoints()))
    (services / "db").write_text("# the two\n10.77.0.11:8080 weight=2\n\n10.77.0.12:8080\n")
    arguments = ["--registry", f"file:{services}", "--link", "9000=web", "--link", "9001=db"]
    daemon = lab.start(*arguments, registry=False)
    check(lab, EVEN)
    check(lab, {"b1": 20, "b2": 10}, "127.0.0.1:9001")

    with daemon.logs(r"link db:.*\+10\.77\.0\.13:8080"):
        (services / "db").write_text("10.77.0.11:8080\n10.77.0.12:8080\n10.77.0.13:8080\n")
    check(lab, EVEN, "127.0.0.1:9001")

    # One broken file keeps its service only; another goes on changing.
    with daemon.logs(r"services/web\.json"):
        (services / "web.json").write_text("[")
    with daemon.logs(r"link db:.*-10\.77\.0\.13:8080"):
        (services / "db").write_text("10.77.0.11:8080\n10.77.0.12:8080\n10.1.0.300:1\n")
    check(lab, EVEN)
    check(lab, {"b1": 10, "b2": 10}, "127.0.0.1:9001")
    assert re.search(r"services/db.*line 3.*10\.1\.0\.300", daemon.log())
