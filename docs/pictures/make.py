"""
The pictures of the documentation, taken of the page of the demo in Chromium.

    .venv/bin/python docs/pictures/make.py

Needs Chromium (apt-get install -y chromium) and playwright, which the `dev` extra has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from pages import can_open_pages, research, running_browser, save  # noqa: E402

SIZE = {"width": 1200, "height": 720}


def main() -> None:
    if not can_open_pages():
        raise SystemExit("needs Chromium and playwright: apt-get install -y chromium")
    with tempfile.TemporaryDirectory() as directory, running_browser() as browser:
        demo = demo_page(directory)
        loop = save(Path(directory, "loop.html"), research())
        for scheme in ("light", "dark"):
            take(browser, demo, f"timeline-{scheme}", scheme, ["run:Support bot"])
        take(browser, demo, "details", "light", ["run:Trip planner", "row:Agent"])
        take(browser, loop, "error", "light", ["key:e"])
        take(browser, demo, "graph", "light", ["run:Support bot", "key:g"])
        take(browser, loop, "loop", "dark", ["key:g", "node:Loop"])
        take(browser, demo, "telephone", "light", ["run:Support bot"], width=375)


def demo_page(directory: str) -> Path:
    """That of `flowspan demo`, where no collector can answer."""
    environment = {**os.environ, "XDG_CACHE_HOME": directory, "OTEL_TRACES_EXPORTER": "none"}
    command = Path(sys.executable).parent / "flowspan"
    subprocess.run([command, "demo"], env=environment, stdout=subprocess.DEVNULL, check=True)
    (page,) = Path(directory).rglob("demo.html")
    return page


def take(
    browser: Any, path: Path, name: str, scheme: str, steps: list[str], width: int = SIZE["width"]
) -> None:
    context = browser.new_context(
        viewport={**SIZE, "width": width}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(path.as_uri())
    for step in steps:
        what, _, text = step.partition(":")
        if what == "key":
            page.keyboard.press(text)
        elif what == "run":
            page.locator(".run", has_text=text).click()
        elif what == "row":
            page.locator("#rows .row:visible", has_text=text).first.click()
        else:
            page.locator("#canvas .node", has_text=text).first.click()
    page.mouse.move(0, 0)
    page.locator("#details[hidden], #details h2").first.wait_for(state="attached")
    page.screenshot(path=HERE / f"{name}.png", animations="disabled")
    context.close()


if __name__ == "__main__":
    main()
