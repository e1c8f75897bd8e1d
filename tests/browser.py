"""A headless Chromium, in which tests and the documentation's pictures see pages as users do."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

TIMEOUT_S = 240.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser:
    """A browser that opens each page in a new, empty profile.

    Args:
        chromium: The program.
    """

    def __init__(self, chromium: str) -> None:
        self._chromium = chromium

    def screenshot(
        self, url: str, path: Path, *, size: tuple[int, int] = (1280, 800), wait_s: float = 10.0
    ) -> None:
        """Writes what the window shows to a PNG file.

        Args:
            url: The page.
            path: Where the picture goes.
            size: Width and height of the window in pixels.
            wait_s: How long the page's own clock runs before; a pending request stops it.
        """
        path.unlink(missing_ok=True)
        self._open(url, size, wait_s, f"--screenshot={path}")
        assert path.stat().st_size, f"{path} is empty"

    def dom(self, url: str, *, size: tuple[int, int] = (1280, 800), wait_s: float = 10.0) -> str:
        """The page's elements as HTML, once its scripts have run; without shadow trees."""
        return self._open(url, size, wait_s, "--dump-dom")

    def _open(self, url: str, size: tuple[int, int], wait_s: float, flag: str) -> str:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [self._chromium, *_FLAGS, f"--user-data-dir={profile}"]
            command += [f"--window-size={size[0]},{size[1]}"]
            command += [f"--virtual-time-budget={wait_s * 1000:.0f}", flag, url]
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


def find_browser() -> Browser | None:
    """The Chromium of this machine, None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    programs = filter(None, map(shutil.which, names))
    return next(map(Browser, programs), None)


@pytest.fixture(scope="session")
def browser() -> Browser:
    """The Chromium of this machine; the test is skipped without one."""
    found = find_browser()
    if found is None:
        pytest.skip("chromium is not installed")
    return found
