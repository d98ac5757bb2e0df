"""The report in a real browser: read from a file, without a network, by keyboard, in the dark and on a phone."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reports
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from saltern.report import page
from tests.browser import Browser

BUILD = Path(__file__).parents[2] / "build"
CLOUDS: dict[str, dict[str, Any]] = {
    "trouble": {"trouble": True, "incidents": reports.INCIDENTS},
    "large": {"cloud": reports.large(), "trouble": True},
}
# What has the focus: which element it is, whether one sees that, and whether it is on the screen.
FOCUSED = """
    const one = document.activeElement, at = one.getBoundingClientRect();
    const box = one.querySelector('rect'), style = getComputedStyle(one);
    const marked = style.outlineStyle !== 'none' || (box && getComputedStyle(box).strokeWidth === '3px');
    const seen = at.bottom > 0 && at.top < innerHeight && at.right > 0 && at.left < innerWidth;
    return [[...document.querySelectorAll('*')].indexOf(one), marked, seen, one.textContent.trim()];
"""


class Reader(Browser):
    """A browser with a report before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(folder / "profile", noting=True)

    def open(self, name: str, width: int = 1400, scheme: str = "light") -> None:
        """Open the report of one of the clouds.

        :param width: Of the screen, in pixels.
        :param scheme: ``light`` or ``dark``.
        """
        path = self.folder / f"{name}.html"
        path.write_text(page.render(reports.data(**CLOUDS[name])))
        preferred = [{"name": "prefers-color-scheme", "value": scheme}]
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.get(path.as_uri())

    def press(self, *keys: str) -> list[Any]:
        """Press keys; return what :data:`FOCUSED` says then."""
        for key in keys:
            self.switch_to.active_element.send_keys(key)
        return self.execute_script(FOCUSED)

    def picture(self, name: str) -> None:
        """Save a picture of the whole page below build/."""
        taken = self.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        BUILD.mkdir(exist_ok=True)
        (BUILD / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Reader]:
    """Return a browser for reports."""
    browser = Reader(tmp_path_factory.mktemp("report"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def axe() -> str:
    """Return axe-core, the program that checks a page for accessibility."""
    found = importlib.util.find_spec("axe_playwright_python")
    if not found or not found.submodule_search_locations:
        pytest.fail("axe-playwright-python is not installed: run make setup")
    return Path(found.submodule_search_locations[0], "axe.min.js").read_text()


@pytest.mark.parametrize("name", CLOUDS)
def test_a_page_asks_no_network_and_the_console_is_silent(browser, name):
    browser.open(name)
    events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = [
        one["params"]["request"]["url"]
        for one in events
        # The browser's own first page may still be loading.
        if one["method"] == "Network.requestWillBeSent"
        and one["params"]["documentURL"] == browser.current_url
    ]
    assert asked == [browser.current_url]
    assert browser.current_url.startswith("file://")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_a_page_fits_the_screen_and_is_pictured(browser, width, scheme):
    browser.open("trouble", width, scheme)
    script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    whole, seen = browser.execute_script(script)
    assert whole <= seen
    browser.picture(f"report-{width}-{scheme}")


def test_texts_of_the_graph_stay_in_their_boxes(browser):
    browser.open("large")
    beyond = """
        return [...document.querySelectorAll('.box a')].filter(one => {
            const box = one.querySelector('rect').getBoundingClientRect();
            return [...one.querySelectorAll('text')].some(text => {
                const at = text.getBoundingClientRect();
                return at.right > box.right || at.bottom > box.bottom || at.top < box.top;
            });
        }).map(one => one.textContent.trim());
    """
    assert browser.execute_script(beyond) == []


def test_headings_and_landmarks_lead_through_the_page(browser):
    browser.open("trouble")
    script = "return [...document.querySelectorAll('h1,h2,h3,h4,h5')].map(one => +one.tagName[1])"
    levels = browser.execute_script(script)
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for landmark in ("body > header", "nav[aria-label]", "main", "body > footer"):
        assert len(browser.find_elements(By.CSS_SELECTOR, landmark)) == 1, landmark
    names = "return [...document.querySelectorAll('section')].map(one => one.ariaLabelledByElements?.[0]?.textContent || document.getElementById(one.getAttribute('aria-labelledby')).textContent)"
    assert all(browser.execute_script(names))


def test_the_keyboard_leads_through_the_page_in_its_order_and_one_sees_where_it_is(browser):
    browser.open("trouble")
    order = []
    _, marked, seen, text = browser.press(Keys.TAB)
    assert (marked, seen, text) == (True, True, "Skip to the content")
    stops = browser.execute_script(
        "return [...document.querySelectorAll('a, summary, [tabindex=\"0\"]')].filter(one => one.checkVisibility()).length"
    )
    for _ in range(stops - 1):
        at, marked, seen, text = browser.press(Keys.TAB)
        order.append(at)
        assert marked and seen, text
    assert len(order) > 40 and order == sorted(set(order))


def test_the_skip_link_leads_past_the_navigation(browser):
    browser.open("trouble")
    browser.press(Keys.TAB, Keys.ENTER)
    browser.press(Keys.TAB)
    script = "return document.querySelector('main').contains(document.activeElement)"
    assert browser.execute_script(script)


def test_a_service_of_the_graph_leads_to_its_row_by_keyboard(browser):
    browser.open("trouble")
    link = browser.find(".box a")
    browser.execute_script("arguments[0].focus()", link)
    browser.press(Keys.ENTER)
    row = browser.find("tr:target")
    assert link.get_attribute("aria-label").startswith(row.find_element(By.TAG_NAME, "th").text)


def test_all_of_it_is_printed_also_what_is_folded(browser):
    browser.open("trouble")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        heights = "return [...document.querySelectorAll('details table')].map(one => one.getBoundingClientRect().height)"
        assert all(browser.execute_script(heights))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize(
    ("name", "scheme"), [("trouble", "light"), ("trouble", "dark"), ("large", "light")]
)
def test_axe_finds_nothing(browser, axe, name, scheme):
    browser.open(name, scheme=scheme)
    # What is folded is looked at, too.
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    browser.execute_script(axe)
    browser.set_script_timeout(300)
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    wrong = [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found["violations"]
    ]
    assert wrong == []
