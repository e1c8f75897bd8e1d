"""The headless browser that tests of web pages rely on."""

from __future__ import annotations

from pathlib import Path

from browser import Browser
from matplotlib.image import imread

PAGE = """
<body style="background: #ff0000">
<p id="text">at first</p>
<script>setTimeout(() => document.getElementById("text").textContent = "later", 3000)</script>
"""


def test_a_page_is_seen_after_its_scripts_have_run(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    assert '<p id="text">later</p>' in browser.dom(page.as_uri())
    assert '<p id="text">at first</p>' in browser.dom(page.as_uri(), wait_s=1)


def test_a_screenshot_has_the_size_and_the_colour_of_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "picture.png"
    page.write_text(PAGE)
    browser.screenshot(page.as_uri(), picture, size=(640, 480))
    pixels = imread(picture)
    assert pixels.shape[:2] == (480, 640)
    assert pixels[-1, -1, :3].tolist() == [1, 0, 0]
