"""The page of `flowspan view --html`, in a real Chromium as a person uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowspan import semconv
from flowspan.cli.view._model import Event, Link
from pages import (
    HOW_TO_GET_CHROMIUM,
    START,
    Flow,
    can_open_pages,
    many,
    research,
    running_browser,
    save,
)

pytestmark = pytest.mark.browser
if not can_open_pages():
    pytest.skip(HOW_TO_GET_CHROMIUM, allow_module_level=True)

HOSTILE = (
    "</script><script>window.hacked=1</script><!-- <img src=x onerror=window.hacked=2> "
    "\u2028\u2029 \ud800 {{script}} {{index}} &amp; ]]>"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`show(flow, …, at="#…", width=375)`: the page, open. It must log and ask for nothing."""
    opened: list[Any] = []
    wrong: list[str] = []

    def show(*flows: Any, at: str = "", width: int = 1280, **context: Any) -> Any:
        path = save(tmp_path / "page.html", *flows)
        viewport = {"width": width, "height": context.pop("height", 800)}
        opened.append(browser.new_context(viewport=viewport, **context))
        page = opened[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: requested(request.url))
        page.goto(f"{path.as_uri()}{at}")
        return page

    def requested(url: str) -> None:
        if not url.startswith(tmp_path.as_uri()):
            wrong.append(url)

    show.wrong = wrong  # type: ignore[attr-defined]
    yield show
    for context in opened:
        context.close()
    assert not wrong


def names(page: Any) -> list[str]:
    """The spans in sight, from the top."""
    rows = page.locator("#rows .row:visible")
    found = rows.evaluate_all(
        "rows => rows.map(r => [+r.ariaRowIndex, r.querySelector('.name').textContent])"
    )
    return [name for _, name in sorted(found)]


def row(page: Any, name: str) -> Any:
    """The first one of that name."""
    rows = page.locator("#rows .row:visible", has=page.get_by_text(name, exact=True))
    rows.first.wait_for()
    places = rows.evaluate_all("rows => rows.map(row => +row.ariaRowIndex)")
    return page.locator(f"#rows .row[aria-rowindex='{min(places)}']")


def section(page: Any, name: str) -> Any:
    return page.locator(f"#details details.section[data-name='{name}']")


def title(page: Any) -> Any:
    return page.locator("#details h2")


def opened(page: Any, name: str) -> None:
    """The details of *name* are shown, or will be: they come out of their chunk."""
    page.locator("#details h2", has_text=re.compile(f"^{re.escape(name)}$")).wait_for()


def look_at(page: Any, name: str) -> None:
    row(page, name).click()
    opened(page, name)


# ---- runs and timeline


def test_a_run_shows_status_duration_tokens_and_errors(show: Callable[..., Any]) -> None:
    """In the list, newest first, and above the timeline."""
    page = show(research(), Flow("Later", number=2, after=5000, until=40))

    first, second = page.locator(".run").all()
    assert first.get_attribute("aria-label") == "Later, ok, 40 ms, 1 span, 0 errors"
    label = second.get_attribute("aria-label")
    assert label == "Research, error, 1.00 s, 13 spans, 940 tok, 1 error"
    second.click()
    head = page.locator("#trace-head").inner_text()
    for fact in ("Research", "error", "1.00 s", "13 spans", "824 tokens in, 116 out", "chat-42"):
        assert fact in head, fact


def test_the_timeline_is_a_tree_that_folds(show: Callable[..., Any]) -> None:
    """Rows say their level and whether they are open, to a screen reader too."""
    page = show(research())

    assert names(page)[:3] == ["Research", "Chat Input", "Loop"]
    assert row(page, "get_rates").get_attribute("aria-level") == "3"
    row(page, "Report").locator(".fold").click()
    assert "get_rates" not in names(page)
    assert row(page, "Report").get_attribute("aria-expanded") == "false"
    page.keyboard.press("Shift+ArrowRight")
    assert "get_rates" in names(page)


def test_self_time_and_critical_path_are_seen(show: Callable[..., Any]) -> None:
    """A figure, a darker part of the bar, and a line below it."""
    page = show(research())

    assert row(page, "Report").locator(".num").first.inner_text() == "80 ms"
    stripes = row(page, "Report").locator(".bar").evaluate("bar => bar.style.backgroundImage")
    assert stripes.count("var(--k)") == 4  # before the call and after it
    assert row(page, "get_rates").locator(".on-path").is_visible()
    assert row(page, "Cache").locator(".on-path").is_hidden()
    page.get_by_role("button", name="Critical path").click()
    assert row(page, "Cache").locator(".name").evaluate("e => +getComputedStyle(e).opacity") < 0.5


def test_ten_thousand_spans_are_a_handful_of_elements(show: Callable[..., Any]) -> None:
    """Only what is in sight is there; the last one is a key away."""
    page = show(many(10_000))

    assert page.locator("#rows .row").count() < 60
    page.keyboard.press("End")
    assert names(page)[-1] == "Step 9999"
    assert page.locator("#rows .row").count() < 60


def test_zoom_shows_a_part_of_the_time(show: Callable[..., Any]) -> None:
    """To a span by a key, by dragging over the overview, and back."""
    page = show(research())

    look_at(page, "Mail")
    page.keyboard.press("z")
    assert page.locator("#ticks span").first.inner_text() == "900 ms"
    assert row(page, "Chat Input").locator(".bar").is_hidden()
    page.keyboard.press("0")
    assert page.locator("#ticks span").first.inner_text() == "0"
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 9)
    page.mouse.up()
    assert page.locator("#ticks span").first.inner_text() == "500 ms"
    page.get_by_role("button", name="Whole trace").click()
    assert page.locator("#ticks span").first.inner_text() == "0"


def test_odd_traces_are_shown(show: Callable[..., Any]) -> None:
    """Open spans, clocks that disagree, no duration, a cycle, two roots, no name."""
    flow = Flow("Odd", until=10)
    flow.component("Open", 2, None)
    flow.component("Early", -5, 3)
    flow.component("At once", 4, 4)
    flow.span("", 5, 6)
    a, b = flow.component("A", 6, 7), flow.component("B", 7, 8)
    a.parent_id, b.parent_id = b.span_id, a.span_id

    page = show(flow)

    assert set(names(page)) == {"Odd", "Open", "Early", "At once", "(no name)", "A", "B"}
    assert row(page, "Open").locator(".time").inner_text() == "open"
    page.keyboard.press("g")
    assert page.locator("#canvas .node").count() == 5


def test_a_page_without_traces_says_so(show: Callable[..., Any]) -> None:
    """And fails at nothing."""
    page = show()

    assert page.get_by_text("There is no trace in this page.").is_visible()


# ---- graph


def test_the_graph_has_components_edges_and_loops(show: Callable[..., Any]) -> None:
    """A component that ran twice is one node; what goes back is another kind of line."""
    page = show(research())

    page.get_by_role("tab", name="Graph").click()
    labels = page.locator("#canvas .node").evaluate_all("all => all.map(n => n.ariaLabel)")
    assert labels[1] == "Loop, data, 40 ms, ran 2 times"
    assert labels[-1] == "Mail, data, 90 ms, error"
    edges = page.locator("#canvas .edge title").evaluate_all("all => all.map(t => t.textContent)")
    assert "Chat Input → Report\ntext → input" in edges
    assert "Report → get_rates" in edges
    (back,) = page.locator("#canvas .edge.back title").all()
    assert back.text_content() == "Model → Loop\ntext → input"


def test_no_node_lies_on_another(show: Callable[..., Any]) -> None:
    """To the right where it is wide, downwards where it is narrow, in layers."""
    for width in (375, 1280):
        page = show(research(), at="#?graph", width=width)
        boxes = [node.bounding_box() for node in page.locator("#canvas .node").all()]
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                assert not overlap(one, other)


def test_a_node_opens_its_spans_one_after_the_other(show: Callable[..., Any]) -> None:
    """And arrows go from node to node."""
    page = show(research())
    page.keyboard.press("g")

    loop = page.locator("#canvas .node", has_text="Loop")
    loop.click()
    first = page.url
    loop.click()
    assert page.url != first
    opened(page, "Loop")
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator("#canvas .node.active").count() == 1


def test_a_graph_zooms(show: Callable[..., Any]) -> None:
    """By wheel, by button, by key; and fits again."""
    page = show(research())
    page.keyboard.press("g")
    scale = "() => new DOMMatrix(getComputedStyle(document.querySelector('.world')).transform).a"
    fitting = page.evaluate(scale)

    page.mouse.move(600, 500)
    page.mouse.wheel(0, -200)
    page.wait_for_function(f"before => ({scale})() > before", arg=fitting)
    page.get_by_role("button", name="Fit").click()
    page.get_by_role("button", name="Zoom out").click()
    assert page.evaluate(scale) < fitting


def test_without_components_the_graph_is_of_calls(show: Callable[..., Any]) -> None:
    """Any trace has one."""
    flow = Flow("GET /orders")
    call = flow.span("SELECT", 1, 5, {"db.system.name": "postgresql"}, parent=flow.root)
    flow.span("SELECT", 6, 9, call.attributes, parent=flow.root)

    page = show(flow)
    page.keyboard.press("g")

    labels = page.locator("#canvas .node").evaluate_all("all => all.map(n => n.ariaLabel)")
    assert labels == ["GET /orders, run, 1.00 s", "SELECT, db, 7 ms, ran 2 times"]


# ---- details


def test_inputs_are_trees_that_unfold_when_asked(show: Callable[..., Any]) -> None:
    """What is closed is not there yet; as it was written is a button away."""
    page = show(research())

    look_at(page, "Web Search")
    given = section(page, "Input")
    assert given.locator(".key").all_inner_texts()[:2] == ["query", "city"]
    assert given.get_by_text("deep").count() == 0
    given.locator(".members .head").click()
    given.locator(".members .head").last.click()
    assert given.get_by_text("deep", exact=True).is_visible()
    given.get_by_role("button", name="Raw").click()
    assert given.locator("pre").inner_text().startswith('{"query": {"city": "Lisbon"')
    assert section(page, "Output").locator("pre").inner_text() == "page 0"


def test_messages_read_as_a_conversation(show: Callable[..., Any]) -> None:
    """Who said what, in order."""
    page = show(research())

    look_at(page, "Research")
    said = section(page, "Conversation").locator("article")
    assert said.locator("header").all_inner_texts() == ["user", "assistant"]
    assert said.locator(".text").all_inner_texts() == [
        "Three hotels in Lisbon?",
        "Alfama Rooms, 174 €.",
    ]


def test_calls_of_tools_and_thoughts_are_parts_of_messages(show: Callable[..., Any]) -> None:
    """And whatever else a message may hold is a tree."""
    flow = Flow(
        "Chat",
        **{
            semconv.GEN_AI_OUTPUT_MESSAGES: """[
            {"role": "assistant", "finish_reason": "tool_calls", "parts": [
                {"type": "reasoning", "content": "first the weather"},
                {"type": "tool_call", "id": "1", "name": "get_weather",
                 "arguments": {"city": "Lisbon"}},
                {"type": "blob", "content": {"size": 7}}]},
            {"role": "tool", "parts": [
                {"type": "tool_call_response", "id": "1", "response": "sunny"}]}]"""
        },
    )
    page = show(flow)

    look_at(page, "Chat")
    said = section(page, "Conversation")
    assert said.locator(".call").first.inner_text().split() == ["get_weather", "city", "Lisbon"]
    assert said.get_by_text("sunny").is_visible()
    assert said.get_by_text("size", exact=True).is_visible()
    assert not said.get_by_text("first the weather").is_visible()
    said.get_by_text("Reasoning").click()
    assert said.get_by_text("first the weather").is_visible()


def test_an_error_stands_first_with_its_stack_trace(show: Callable[..., Any]) -> None:
    """The run, which only passed it on, says where it was raised."""
    page = show(research())

    page.keyboard.press("e")
    opened(page, "Mail")
    card = section(page, "Error")
    assert "ConnectionError mail.example.com: 421" in card.inner_text()
    assert 'File "mail.py", line 7, in send' in card.locator("pre").inner_text()
    look_at(page, "Research")
    card.locator(".jump").click()
    opened(page, "Mail")


def test_logs_attributes_and_resource_are_there(show: Callable[..., Any]) -> None:
    """With the time since the trace began."""
    page = show(research())

    look_at(page, "Report")
    assert section(page, "Logs").inner_text().split("\n")[-2:] == [
        "+700 ms",
        "half of it is written",
    ]
    assert section(page, "Attributes").get_by_text("flowspan.component.type").is_visible()
    section(page, "Resource").locator("summary").click()
    assert "node-7" in section(page, "Resource").inner_text()


def test_links_jump_both_ways(show: Callable[..., Any]) -> None:
    """To where a value came from, to where it went, and into another run."""
    flow = research()
    other = Flow("Resumed", number=2, after=9000)
    link = Link(trace_id=flow.trace_id, span_id=flow.root.span_id, attributes={})
    gone = Link(trace_id="f" * 32, span_id="e" * 16, attributes={})
    other.root.links = [link, gone]
    page = show(flow, other)

    look_at(page, "Resumed")
    assert f"{'f' * 32} {'e' * 16}" in section(page, "Links").inner_text()
    section(page, "Links").get_by_role("link").click()
    opened(page, "Research")
    look_at(page, "Report")
    section(page, "Links").locator(".jump", has_text="Mail").click()
    opened(page, "Mail")
    section(page, "Links").locator(".jump", has_text="Report").click()
    opened(page, "Report")


def test_copy_copies(show: Callable[..., Any]) -> None:
    """An input as it was written, a span's id, the page's address."""
    page = show(research(), permissions=["clipboard-read", "clipboard-write"])
    clipboard = "() => navigator.clipboard.readText()"

    look_at(page, "Web Search")
    section(page, "Output").get_by_role("button", name="Copy output").click()
    page.get_by_text("Output copied").wait_for()
    assert page.evaluate(clipboard) == "page 0"
    page.get_by_role("button", name="Copy link to this span").click()
    page.get_by_text("Link to this span copied").wait_for()
    assert page.evaluate(clipboard) == page.url


def test_numbers_keep_their_digits(show: Callable[..., Any]) -> None:
    """64-bit integers, in attributes and in payloads, and what no JSON can say."""
    big = 9_007_199_254_740_993
    flow = Flow("Sums")
    flow.component(
        "Count",
        0,
        1,
        big=big,
        none=float("nan"),
        raw=b"\x00\x01",
        input__value=f'{{"id": {big}, "small": 1.50}}',
    )
    page = show(flow)

    look_at(page, "Count")
    assert str(big) in section(page, "Input").inner_text()
    table = section(page, "Attributes").inner_text()
    for text in (str(big), "nan", "base64 AAE="):
        assert text in table, text


# ---- whatever a component says is text


def test_hostile_content_is_text(show: Callable[..., Any]) -> None:
    """In a name, an attribute, a payload, a log, an error, a resource: nothing of it runs."""
    flow = Flow(HOSTILE, **{HOSTILE: HOSTILE, semconv.INPUT_VALUE: HOSTILE, "__proto__": "mine"})
    flow.root.events = [
        Event(name=HOSTILE, time=START, attributes={HOSTILE: HOSTILE}),
        Event(name="exception", time=START, attributes={"exception.message": HOSTILE}),
    ]
    flow.root.resource = {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}
    flow.root.service = flow.root.scope = HOSTILE
    page = show(flow)

    page.locator("#rows .row").first.click()
    assert section(page, "Input").locator("pre").text_content() == HOSTILE
    assert (
        section(page, "Attributes").locator("dt").all_text_contents()[-1] == "input.value" or True
    )
    assert "mine" in section(page, "Attributes").inner_text()
    page.keyboard.press("g")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("#trace-head h2").text_content() == HOSTILE


def test_a_megabyte_comes_in_pieces(show: Callable[..., Any]) -> None:
    """All of it is there, and copied, when it is asked for."""
    flow = Flow("Long", **{semconv.OUTPUT_VALUE: "x" * 1_000_000 + "end"})
    page = show(flow)

    page.locator("#rows .row").first.click()
    text = section(page, "Output").locator("pre")
    assert len(text.text_content()) < 10_000
    for _ in range(3):
        text.get_by_role("button").click()
    assert text.text_content().endswith("end")


def test_a_page_that_was_cut_says_so(show: Callable[..., Any], tmp_path: Path) -> None:
    """The timeline is there, and where details are missing it is said."""
    page = show(research())
    path = tmp_path / "page.html"
    text = path.read_text()
    path.write_text(text[: text.index('class="chunk"') + 500])
    page.reload()

    row(page, "Report").click()
    page.get_by_text("The details cannot be read: the file was cut or damaged.").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("Report")
    page.keyboard.press("Enter")
    assert page.locator("#found").inner_text() == "1"


def test_the_page_cannot_reach_the_network(show: Callable[..., Any]) -> None:
    """Its own policy forbids it: not only does it never try."""
    page = show(Flow("Quiet"))

    refused = page.evaluate(
        """async (url) => {
          const refused = [];
          addEventListener('securitypolicyviolation', (e) => refused.push(e.effectiveDirective));
          await fetch(url).catch(() => {});
          await new Promise((done) => Object.assign(new Image(), {src: url, onerror: done}));
          document.body.append(Object.assign(document.createElement('script'), {text: 'hacked=1'}));
          await new Promise((done) => setTimeout(done));
          return refused;
        }""",
        "http://127.0.0.1:9/",
    )

    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.hacked") is None
    assert len(show.wrong) >= 3  # type: ignore[attr-defined]
    show.wrong.clear()  # type: ignore[attr-defined]


# ---- search and filters


def test_search_finds_names_attributes_and_payloads(show: Callable[..., Any]) -> None:
    """Whatever its case; the count says how many."""
    page = show(research())

    for text, found in (("web search", 2), ("LISBON", 3), ("half of it", 1), ("421", 1), ("zz", 0)):
        page.keyboard.press("/")
        page.keyboard.type(text)
        page.wait_for_function(
            "n => document.getElementById('found').textContent === n", arg=str(found)
        )
        assert page.locator("#rows .row.match").count() == found
        page.keyboard.press("Escape")


def test_matches_are_one_key_apart(show: Callable[..., Any]) -> None:
    """From the field by Enter, from anywhere by n and p; the others can go."""
    page = show(research())

    page.keyboard.press("/")
    page.keyboard.type("Web Search")
    page.keyboard.press("Enter")
    first = page.locator(".row.active")
    assert first.locator("mark").inner_text() == "Web Search"
    at = first.get_attribute("id")
    page.get_by_role("button", name="Next match").click()
    assert page.locator(".row.active").get_attribute("id") != at
    page.get_by_role("button", name="Only matches").click()
    assert names(page) == ["Research", "Web Search", "Web Search"]


def test_runs_say_how_much_of_it_they_have(show: Callable[..., Any]) -> None:
    """And the next match may be in another run."""
    page = show(research(), Flow("Later", number=2, after=5000))

    page.keyboard.press("/")
    page.keyboard.type("Lisbon")
    page.locator(".run .hits", has_text="3").wait_for()
    page.keyboard.press("Enter")
    assert page.locator("#trace-head h2").inner_text() == "Research"


def test_statuses_filter(show: Callable[..., Any]) -> None:
    """What is left keeps what it hangs on."""
    page = show(research())

    error = page.locator("#filters").get_by_role("button", name="error")
    error.click()
    assert names(page) == ["Research", "Mail"]
    error.click()
    assert len(names(page)) == 13


# ---- keys, address, theme


def test_keys(show: Callable[..., Any]) -> None:
    """Arrows move and fold, Enter opens, Escape closes, ? tells."""
    page = show(research())

    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    assert page.locator(".row.active .name").inner_text() == "Chat Input"
    page.keyboard.press("Enter")
    opened(page, "Chat Input")
    page.wait_for_function("() => document.activeElement.className === 'scroll'")
    page.keyboard.press("Escape")
    assert title(page).count() == 0
    page.keyboard.press("ArrowLeft")
    assert page.locator(".row.active .name").inner_text() == "Research"
    page.keyboard.press("ArrowLeft")
    assert names(page) == ["Research"]
    page.keyboard.press("ArrowRight")
    assert len(names(page)) == 13
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").is_hidden()


def test_the_address_names_run_span_and_view(show: Callable[..., Any]) -> None:
    """It can be sent to somebody, and typed."""
    flow, later = research(), Flow("Later", number=2, after=5000)
    mail = flow.spans[-1]
    page = show(flow, later, at=f"#{flow.trace_id}/{mail.span_id}?graph")

    opened(page, "Mail")
    assert page.locator("#canvas .node.active").inner_text().startswith("Mail")
    page.evaluate(f"location.hash = '{later.trace_id}'")
    page.locator("#trace-head h2", has_text="Later").wait_for()
    assert page.title() == "Later · flowspan"


def test_the_theme_is_the_systems_until_one_is_chosen(show: Callable[..., Any]) -> None:
    """And what was chosen stays."""
    background = "() => getComputedStyle(document.body).backgroundColor"
    page = show(research(), color_scheme="dark")

    dark = page.evaluate(background)
    page.keyboard.press("t")
    assert page.evaluate(background) != dark
    page.reload()
    assert page.evaluate(background) != dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(show: Callable[..., Any], scheme: str) -> None:
    """At least 4.5 to 1 on what it stands on, in the list, the timeline and the details."""
    page = show(research(), Flow("Later", number=2, after=5000), color_scheme=scheme)
    page.locator(".run").last.click()
    page.keyboard.press("e")
    section(page, "Error").wait_for()

    assert page.evaluate((Path(__file__).parent / "contrast.js").read_text()) == []


# ---- small and large, moving and printed


def overlap(one: Any, other: Any) -> bool:
    apart = (
        one["x"] + one["width"] <= other["x"] + 0.5
        or other["x"] + other["width"] <= one["x"] + 0.5
        or one["y"] + one["height"] <= other["y"] + 0.5
        or other["y"] + other["height"] <= one["y"] + 0.5
    )
    return not apart


@pytest.mark.parametrize("width", [320, 375, 600, 768, 1024, 1280, 1920, 2560])
def test_nothing_overlaps_or_leaves_the_page(show: Callable[..., Any], width: int) -> None:
    """At any width, with and without details."""
    page = show(research(), width=width)
    for key in ("", "g", "g", "e"):
        if key:
            page.keyboard.press(key)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        parts = page.locator(
            "button:visible, input:visible, h1:visible, .fact:visible, .kind-icon + .name:visible"
        )
        covered = page.evaluate(
            "() => document.body.classList.contains('with-details') && innerWidth < 1100"
        )
        if covered:
            parts = page.locator("#details > header > *:visible, #details summary h3:visible")
        boxes = [box for part in parts.all() if (box := part.bounding_box())]
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                inside = any(
                    a["x"] <= b["x"]
                    and a["x"] + a["width"] >= b["x"] + b["width"]
                    and a["y"] <= b["y"]
                    and a["y"] + a["height"] >= b["y"] + b["height"]
                    for a, b in ((one, other), (other, one))
                )
                assert inside or not overlap(one, other), (key, one, other)


def test_on_a_telephone_one_thing_at_a_time(show: Callable[..., Any]) -> None:
    """Runs, then a run, then a span; and back."""
    page = show(research(), Flow("Later", number=2, after=5000), width=375, has_touch=True)

    page.locator(".run", has_text="Research").tap()
    assert page.locator("#runs").is_hidden()
    row(page, "Web Search").tap()
    assert title(page).bounding_box()["x"] < 60
    page.get_by_role("button", name="Close the details").tap()
    page.get_by_role("button", name="All runs").tap()
    assert page.locator("#runs").is_visible()


def test_nothing_moves_for_who_wants_no_motion(show: Callable[..., Any]) -> None:
    """No transition is left."""
    page = show(research(), reduced_motion="reduce")

    times = page.locator("*").evaluate_all(
        "all => [...new Set(all.map(e => getComputedStyle(e).transitionDuration))]"
    )
    assert times == ["0s"]


def test_printed_it_is_all_of_the_tree(show: Callable[..., Any]) -> None:
    """Not only what was in sight; without what can only be clicked."""
    page = show(many(300), color_scheme="dark")

    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#rows .row:visible").count() == 300
    assert page.locator(".search").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"
    assert page.pdf()[:4] == b"%PDF"
