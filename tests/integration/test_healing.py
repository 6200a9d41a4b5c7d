# SPDX-License-Identifier: GPL-2.0-or-later
"""What others do to the table, and what becomes of it: with ownership (6.9 and later) and without (--share-table)."""

import pytest

from waiting import wait_until

EVEN = {"b1": 100, "b2": 100, "b3": 100}
LINKS = ("--link", "9000=web", "--link", "10.96.0.10:80=web,name=vip")

DAMAGE = {
    "flush ruleset": "flush ruleset",
    "delete table": "delete table inet nuncio",
    "flush rules of a link": "flush chain inet nuncio link-web",
    "flush a map": "flush map inet nuncio slots4-0",
    "delete an element": "delete element inet nuncio services4 { tcp . 127.0.0.1 . 9000 }",
    "a foreign rule": "insert rule inet nuncio output accept",
    "a foreign set": "add set inet nuncio mine { type ipv4_addr; }",
    "another element": "delete element inet nuncio slots4-0 { tcp . 127.0.0.1 . 9000 . 0 }; "
    "add element inet nuncio slots4-0 { tcp . 127.0.0.1 . 9000 . 0 : 10.99.0.1 . 99 }",
}


def damaged(web, what):
    """Runs nft in the namespace; returns whether it was let do that."""
    return "Operation not permitted" not in web.app.run("sh", "-c", f"nft '{DAMAGE[what]}' 2>&1", check=False)


def content(web):
    """The table without the order of its parts: one that is made anew has another."""
    return sorted(web.app.table().splitlines())


@pytest.mark.parametrize("what", DAMAGE)
def test_an_owned_table_cannot_be_damaged(web, what):
    web.start(*LINKS)
    before = web.app.table()
    assert damaged(web, what) == (what == "flush ruleset")  # which passes over what it may not touch
    assert web.app.table() == before
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN


@pytest.mark.parametrize("what", DAMAGE)
def test_a_shared_table_is_repaired(web, what):
    daemon = web.start(*LINKS, "--share-table")
    before = content(web)
    with daemon.logs(r"was changed by nft"):
        assert damaged(web, what)
    wait_until(lambda: content(web) == before, 10, lambda: web.app.table())
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN
    assert web.app.hammer("10.96.0.10:80", count=300)["by"] == EVEN


def test_a_shared_table_and_the_tables_of_others(web):
    """What they do to theirs is not looked at: neither logged, nor repaired."""
    daemon = web.start(*LINKS, "--share-table")
    before = daemon.log()
    web.app.run("nft", "add table inet other; add chain inet other c; delete table inet other")
    with daemon.logs(r"link web:.*-b3"):
        web.registry.write({"web": web.endpoints()[:2]})
    assert "was changed" not in daemon.log()[len(before):]


def test_our_own_changes_are_not_taken_for_those_of_others(web):
    daemon = web.start(*LINKS, "--share-table")
    for count in (1, 2, 3) * 3:
        web.registry.write({"web": web.endpoints([1] * count + [0] * (3 - count))})
        wait_until(lambda: daemon.links()["web"]["slots"] == count, 10)
    assert "was changed" not in daemon.log()


def test_one_nuncio_at_a_shared_table(web):
    web.start(*LINKS, "--share-table")
    done = web.nuncio("run", "--share-table", "--registry", web.registry.uri, "--link", "1=web", "--control", "none")
    assert done.returncode == 4 and "another nuncio" in done.stderr, done.stderr
    assert web.app.hammer("127.0.0.1:9000", count=300)["by"] == EVEN


def test_an_address_that_was_taken_away_comes_back(web):
    web.start(*LINKS)
    web.app.ip("addr del 10.96.0.10/32 dev lo")
    wait_until(lambda: "10.96.0.10/32" in web.app.addresses(), 10)
    assert web.app.hammer("10.96.0.10:80", count=300)["by"] == EVEN


def test_flushed_again_and_again_under_load(web):
    web.start(*LINKS)
    hammer = web.app.start_hammer("127.0.0.1:9000", concurrency=4)
    for _ in range(100):
        web.app.run("nft", "flush ruleset")
        hammer.wait_for_more(20)
    assert hammer.stop()["failed"] == 0


@pytest.mark.slow
def test_route_localnet_that_was_switched_off_comes_back(web):
    """The kernel tells nobody, so it takes until the next patrol."""
    web.start(*LINKS)
    setting = "net/ipv4/conf/eth0/route_localnet"
    web.app.sysctl(setting, 0)
    wait_until(lambda: web.app.sysctl(setting) == "1", 20)
    assert web.app.reaches("127.0.0.1:9000")


def test_cleanup_beside_a_nuncio_that_shares_its_table(web):
    web.start(*LINKS, "--share-table")
    before = content(web)
    done = web.nuncio("cleanup")
    assert done.returncode == 4 and "another nuncio" in done.stderr, done.stderr
    assert content(web) == before
