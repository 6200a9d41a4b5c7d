# SPDX-License-Identifier: GPL-2.0-or-later
"""The page for people, in a real browser."""

import json

import pytest

import browser as browsers
from waiting import wait_until

STATE = "document.querySelector('[data-link=web] tbody tr:nth-child(%d) .state .pill')?.textContent"


@pytest.fixture
def page(lab):
    """A daemon with a page, and a browser that looks at it; lab.page(*args) starts both."""
    if browsers.obstacle():
        pytest.skip(browsers.obstacle())
    opened = []

    def start(*args):
        daemon = lab.start(*args, "--metrics", "127.0.0.1:9977")
        opened.append(browsers.Browser(lab.app))
        opened[0].open("http://127.0.0.1:9977/")
        opened[0].wait_for("document.getElementById('live').textContent === 'live'", 20)
        return daemon, opened[0]

    yield start
    for each in opened:
        each.close()


def texts(browser, selector):
    return browser.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)")


def test_an_endpoint_goes_and_comes_back_without_a_reload(lab, page):
    lab.serve()
    lab.registry.write({"web": lab.endpoints()})
    daemon, browser = page("--link", "9000=web")
    browser.evaluate("window.same = true")
    assert texts(browser, "tbody tr .state .pill") == ["up"] * 3
    assert browser.evaluate("document.getElementById('endpoints').textContent") == "3 of 3"
    lab.registry.write({"web": lab.endpoints(weights=[1, 0, 1])})
    browser.wait_for(STATE % 2 + " === 'draining'")
    assert "its weight is 0" in texts(browser, "tbody tr .reason")
    lab.registry.write({"web": lab.endpoints()[:1]})
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1")
    lab.registry.write({"web": lab.endpoints()})
    browser.wait_for("document.querySelectorAll('tbody tr').length === 3 && " + STATE % 2 + " === 'up'")
    assert lab.app.hammer("127.0.0.1:9000", count=300)["ok"] == 300
    browser.wait_for("document.querySelectorAll('tbody tr td:nth-child(6)')[0].textContent > 50")
    browser.wait_for("[...document.querySelectorAll('#events .what')].some(e => e.textContent.includes('+b2'))")
    assert browser.evaluate("window.same"), "the page was loaded again"
    # Filtering, and nothing that the policy would have refused.
    browser.evaluate("{ const f = document.getElementById('find'); f.value = 'b3'; f.dispatchEvent(new Event('input')) }")
    assert texts(browser, "tbody tr th span:first-child") == ["b3"]
    assert browser.messages == []
    # And when the daemon ends, the page says so.
    daemon.stop()
    browser.wait_for("document.getElementById('lost').textContent.includes('does not answer')")


def test_names_are_text_and_never_markup(lab, page):
    name = "<img src=x onerror=document.title='broken'>"
    lab.registry.write({"web": [lab.endpoints()[0] | {"id": name}]})
    daemon, browser = page("--link", "9000=web")
    wait_until(lambda: len(daemon.endpoints("web")) == 1, what="the endpoint")
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1")
    shown = texts(browser, "tbody tr th span:first-child")[0]
    assert shown in (name, next(iter(daemon.endpoints("web"))))
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.title") == "nuncio"
