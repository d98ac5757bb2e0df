"""The dashboard in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as shown

from tests.browser import Browser

ROOT = Path(__file__).parents[2]
NAME = f"test-horizon-{os.getpid()}"


class Dashboard(Browser):
    """A browser that knows where the dashboard is, and what people do there."""

    def __init__(self, url: str, profile: Path) -> None:
        self.url = url
        super().__init__(profile)

    def visit(self, path: str) -> None:
        """Open a page of the dashboard."""
        self.get(f"{self.url}{path}")

    def log_in(self, password: str) -> None:
        """Fill in the form of the login page as the administrator."""
        self.visit("/auth/login/")
        self.find("#id_username").send_keys("admin")
        self.find("#id_password").send_keys(password)
        button = self.find("#loginBtn")
        button.click()
        self.until(shown.staleness_of(button))


@pytest.fixture(scope="module")
def public(cloud) -> str:
    """Return the public address of the cloud, as its catalogue gives it."""
    only = ("--service", "identity", "--interface", "public", "-f", "value", "-c", "URL")
    host = urlsplit(cloud.openstack("endpoint", "list", *only).stdout.strip()).hostname
    assert host
    return host


@pytest.fixture
def browser(public, tmp_path) -> Iterator[Dashboard]:
    """Return a browser that was never here before."""
    formula = yaml.safe_load((ROOT / "formulas/horizon/service.yml").read_text())
    port = formula["apis"]["horizon"]["port"]
    browser = Dashboard(f"http://{public}:{port}", tmp_path / "profile")
    yield browser
    browser.quit()


@pytest.fixture
def administrator(cloud, browser) -> Dashboard:
    """Return a browser in which the administrator is logged in."""
    browser.log_in(cloud.secrets()["keystone"]["admin_password"])
    assert "/auth/" not in browser.current_url
    return browser


@pytest.fixture(scope="module")
def machine(cloud, tmp_path_factory) -> Iterator[str]:
    """Return the id of a machine called NAME: its disk is empty, but its BIOS writes on a screen."""
    disk = tmp_path_factory.mktemp("disk") / "empty"
    disk.write_bytes(bytes(1 << 20))
    formats = ("--disk-format", "raw", "--container-format", "bare")
    try:
        cloud.openstack("image", "create", NAME, *formats, "--file", str(disk))
        cloud.openstack("flavor", "create", NAME, "--ram", "64", "--disk", "0", "--vcpus", "1")
        what = ("--image", NAME, "--flavor", NAME, "--nic", "none", "--wait")
        made = cloud.openstack("server", "create", NAME, *what, "-f", "value", "-c", "id")
        yield made.stdout.strip()
    finally:
        cloud.openstack("server", "delete", "--wait", NAME, check=False)
        cloud.openstack("flavor", "delete", NAME, check=False)
        cloud.openstack("image", "delete", NAME, check=False)


def test_a_wrong_password_is_refused_with_a_message(browser):
    browser.log_in("not the password")
    assert "Invalid credentials" in browser.find(".alert-danger, .error").text
    assert "/auth/login" in browser.current_url


def test_the_administrator_sees_the_machine(administrator, machine):
    administrator.visit("/project/instances/")
    row = administrator.find(f"tr[data-object-id='{machine}']")
    assert NAME in row.text and "Active" in row.text
    picture = ROOT / "build/horizon.png"
    picture.parent.mkdir(exist_ok=True)
    assert administrator.save_screenshot(str(picture))


def test_an_uploaded_image_is_listed_by_the_page_that_runs_in_the_browser(administrator, machine):
    administrator.visit("/project/images")
    administrator.until(
        shown.visibility_of_element_located((By.XPATH, f"//td//*[normalize-space()='{NAME}']"))
    )


def test_the_console_of_the_machine_connects_and_shows_its_screen(administrator, machine, public):
    administrator.visit(f"/project/instances/{machine}/?tab=instance_details__console")
    frame = administrator.find("iframe#console_embed")
    assert urlsplit(frame.get_attribute("src")).hostname == public
    administrator.switch_to.frame(frame)
    canvas = administrator.find("canvas")
    drawn = """
        const canvas = arguments[0];
        if (!canvas.width || !canvas.height) return false;
        const points = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return points.some((value, at) => at % 4 < 3 && value > 0);
    """
    administrator.until(lambda page: page.execute_script(drawn, canvas))
    assert "Connected to" in administrator.find("#status").text


def test_who_logged_out_has_to_log_in_again(administrator):
    administrator.find(".user-menu > a").click()
    administrator.find(".user-menu form button[type=submit]").click()
    administrator.find("#loginBtn")
    administrator.visit("/project/")
    administrator.find("#loginBtn")
    assert "/auth/login" in administrator.current_url
