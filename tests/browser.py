"""A real browser for tests: Debian's chromium without a screen, driven by Selenium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as shown
from selenium.webdriver.support.wait import WebDriverWait


class Browser(webdriver.Chrome):
    """A browser that was never anywhere before.

    :param profile: An empty folder of its own.
    :param noting: Note what pages ask the network for, and what they say on the console: see :meth:`get_log`.
    """

    def __init__(self, profile: Path, noting: bool = False) -> None:
        _install()
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        # Its sandbox does not start as root, nor is /dev/shm large where tests run.
        for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
            options.add_argument(f"--{word}")
        options.add_argument("--window-size=1400,1000")
        options.add_argument(f"--user-data-dir={profile}")
        if noting:
            logs = {"browser": "ALL", "performance": "ALL"}
            options.set_capability("goog:loggingPrefs", logs)
        super().__init__(options=options, service=Service(shutil.which("chromedriver")))

    def until(self, condition, seconds: int = 60):
        """Wait until a condition holds; return what it gives."""
        return WebDriverWait(self, seconds).until(condition)

    def find(self, selector: str):
        """Wait for what a CSS selector finds to be seen, and return it."""
        return self.until(shown.visibility_of_element_located((By.CSS_SELECTOR, selector)))


def _install() -> None:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        packages = ("chromium", "chromium-driver")
        command = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)
        subprocess.run(command, check=True)
