"""
The page of 10,000 spans in Chromium: how long until it can be used, and how it scrolls.

Each round opens the page anew, interleaved with one of 100 spans, which says what a page costs at
all here. Needs Chromium (apt-get install -y chromium) and playwright.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import quantiles
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pages import can_open_pages, many, running_browser, save

ROUNDS = 5
FRAMES = 150
LONG_TASKS = """
window.long = [];
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) long.push(task.duration);
}).observe({entryTypes: ['longtask']});
"""
READY = "() => performance.getEntriesByName('flowspan-ready')[0].startTime"
SCROLL = """async ([frames, step]) => {
  const rows = document.getElementById('rows');
  const begin = performance.now();
  long.length = 0;
  for (let frame = 0; frame < frames; frame++) {
    rows.scrollTop = frame * step;
    await new Promise(requestAnimationFrame);
  }
  await new Promise((done) => setTimeout(done, 50));
  return [(performance.now() - begin - 50) / frames, long.length, Math.max(0, ...long)];
}"""
WORK = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


def main() -> None:
    if not can_open_pages():
        raise SystemExit("needs Chromium and playwright: apt-get install -y chromium")
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory, running_browser() as browser:
        for round_ in range(ROUNDS):
            for spans in (100, 10_000):
                begin = process_time()
                path = save(Path(directory, f"{spans}.html"), many(spans))
                written = process_time() - begin
                figures.setdefault(f"written, s of CPU, {spans:,} spans", []).append(written)
                if round_ == 0:
                    print(f"{spans:,} spans: {path.stat().st_size / 1e6:.2f} MB")
                for name, value in measured(browser, path):
                    figures.setdefault(f"{name}, {spans:,} spans", []).append(value)
    print("| figure | median | quartiles |\n|---|---|---|")
    for name, values in figures.items():
        low, median, high = quantiles(values, n=4)
        print(f"| {name} | {median:.2f} | {low:.2f} to {high:.2f} |")


def measured(browser: Any, path: Path) -> list[tuple[str, float]]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(LONG_TASKS)
    begin = perf_counter()
    page.goto(path.as_uri())
    page.keyboard.press("ArrowDown")
    page.locator(".row.active[aria-rowindex='2']").wait_for()
    answered = perf_counter() - begin
    found = [("ready, ms", page.evaluate(READY)), ("first key answered, ms", answered * 1000)]
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable")
    for how, step in (("scrolling", 60), ("flying over it", 2000)):
        before = metrics(devtools)
        frame, tasks, longest = page.evaluate(SCROLL, [FRAMES, step])
        after = metrics(devtools)
        work = sum(after[name] - before[name] for name in WORK) * 1000 / FRAMES
        found += [
            (f"{how}: ms a frame", frame),
            (f"{how}: its script, style and layout, ms a frame", work),
            (f"{how}: long tasks in {FRAMES} frames", tasks),
            (f"{how}: longest of them, ms", longest),
        ]
    context.close()
    return found


def metrics(devtools: Any) -> dict[str, float]:
    return {
        each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]
    }


if __name__ == "__main__":
    main()
