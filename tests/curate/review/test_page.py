"""The page in a real browser: review, draw, take back, reload, export; and a long list."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.features import rasterize
from typer.testing import CliRunner

from nubila.cli import app
from nubila.curate.review import Review, ReviewStore, read_items
from nubila.datasets import load_sample, read_manifest
from nubila.datasets.tables import read_table, write_table
from tests.curate.review.conftest import COLUMNS, ROWS, Folder
from tests.curate.review.live import running, serving

CLOUD, SHADOW, SNOW, WATER = 2, 8, 16, 32


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()


@dataclass
class Reader:
    """Somebody at the page."""

    page: Any
    troubles: list[str]

    def open(self, address: str) -> None:
        self.page.goto(address)

    def sees(self, name: str) -> None:
        """Wait until a sample's picture is drawn."""
        self.page.wait_for_selector(f'#view[data-shown="{name}"]', timeout=20000)

    def reads(self, selector: str, text: str) -> None:
        """Wait until a text is there."""
        self.page.wait_for_selector(f'{selector}:has-text("{text}")', timeout=20000)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def place(self, x: float, y: float) -> tuple[int, int, float, float]:
        """Return the screen's pixel nearest to a point of the fitted image, and where that is."""
        canvas = self.page.locator("#view")
        box = canvas.bounding_box()
        width, height = canvas.evaluate("view => [view.clientWidth, view.clientHeight]")
        scale = min(width / COLUMNS, height / ROWS) * 0.98
        left = round((x - COLUMNS / 2) * scale + width / 2)
        top = round((y - ROWS / 2) * scale + height / 2)
        image_x = (left - width / 2) / scale + COLUMNS / 2
        image_y = (top - height / 2) / scale + ROWS / 2
        return round(box["x"]) + left, round(box["y"]) + top, image_x, image_y

    def click(self, x: float, y: float) -> tuple[float, float]:
        left, top, *point = self.place(x, y)
        self.page.mouse.click(left, top)
        return point[0], point[1]

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> list[tuple]:
        places = [self.place(*start), self.place(*end)]
        self.page.mouse.move(*places[0][:2])
        self.page.mouse.down()
        self.page.mouse.move(*places[1][:2])
        self.page.mouse.up()
        return [place[2:] for place in places]


@contextmanager
def _reading(browser: Any) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console", lambda message: troubles.append(message.text) if message.type == "error" else 0
    )
    page.on("request", lambda r: troubles.append(r.url) if "127.0.0.1" not in r.url else 0)
    yield Reader(page, troubles)
    context.close()


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    with _reading(browser) as found:
        yield found


def _near_line(points: list[tuple], radius: float) -> np.ndarray:
    """Return which pixels' centres are near a line, by looking at a thousand points of it."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS] + 0.5
    along = np.linspace(0, 1, 1000)[:, None, None]
    (x0, y0), (x1, y1) = points
    squares = (columns - x0 - along * (x1 - x0)) ** 2 + (rows - y0 - along * (y1 - y0)) ** 2
    return squares.min(axis=0) <= radius**2


def _inside(points: list[tuple[float, float]]) -> np.ndarray:
    shape = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    found = rasterize([shape], out_shape=(ROWS, COLUMNS), transform=Affine.identity())
    return found.astype(bool)


def _draw(reader: Reader, label: np.ndarray) -> np.ndarray:
    """Draw with each tool; return what should come of it."""
    expected = label.copy()
    reader.press("f", "b", "2")
    stroke = reader.drag((5, 14), (30, 16))  # a brush of eight pixels
    expected[_near_line(stroke, 8)] = CLOUD
    reader.press("y", "4")
    corners = [reader.click(x, y) for x, y in ((44.3, 5.2), (60, 6), (57, 19), (49, 12.3))]
    reader.press("Enter")
    expected[_inside(corners)] = SHADOW
    reader.press("w", "6")
    reader.click(32.5, 25.5)
    expected[20:30, 25:40] = WATER  # the only square that is all alike
    reader.press("b", "5")
    reader.drag((2, 40), (60, 40))
    reader.press("Control+z")  # snow that was none
    reader.press("[", "[", "2", "e")
    stroke = reader.drag((10, 15), (20, 15))
    gone = _near_line(stroke, 6)
    expected[gone] &= 255 - CLOUD
    return expected


def test_a_review_from_the_first_key_to_the_new_manifest(folder: Folder, reader: Reader) -> None:
    arguments = (str(folder.manifest), "--predictions", str(folder.predictions), "--who", "ben")
    label = load_sample(read_manifest(folder.manifest)[2]).label
    with running(*arguments) as (_, address):
        reader.open(address)
        reader.sees("set/s000")
        reader.press("/")
        reader.page.keyboard.type("looks right")
        reader.press("Enter", "k")
        reader.sees("set/s001")
        reader.press("p")
        reader.sees("set/s002")
        expected = _draw(reader, label)
        reader.page.wait_for_load_state("networkidle")
        reader.page.reload()
        reader.sees("set/s002")
        reader.reads("#message", "a draft of a fix was kept")
        reader.press("Enter")
        reader.sees("set/s003")
        reader.press("x")
        reader.reads("#count", "4 of 4")
        reader.press("u")
        reader.reads("#count", "3 of 4")
        reader.press("x")
        reader.reads("#count", "4 of 4")
        reader.page.click("#export")
        reader.reads("#message", "4 decisions")
        reader.page.goto(address)
        reader.page.wait_for_selector("#empty:visible")
    assert reader.troubles == []
    table = folder.decisions.with_suffix(".csv")
    columns, rows = read_table(table)
    decided = [dict(zip(columns, cells, strict=True)) for _, cells in rows]
    assert [row["action"] for row in decided] == ["keep", "prediction", "fix", "drop"]
    assert {row["who"] for row in decided} == {"ben"} and decided[0]["why"] == "looks right"
    _check_applied(folder, table, expected)


def _check_applied(folder: Folder, table: Path, expected: np.ndarray) -> None:
    output = folder.path / "reviewed.csv"
    command = ["data", "apply", str(folder.manifest), str(table), "-o", str(output)]
    done = CliRunner().invoke(app, command)
    assert "3 rows (1 drop, 1 fix, 1 keep, 1 prediction)" in done.output
    new = {spec.id: load_sample(spec).label for spec in read_manifest(output)}
    assert list(new) == ["set/s000", "set/s001", "set/s002"]
    assert {CLOUD, SHADOW, WATER, 0} <= set(np.unique(expected).tolist())
    different = np.argwhere(new["set/s002"] != expected)
    assert len(different) == 0, different[:10]
    assert new["set/s001"][0, 0] == 1 and new["set/s001"][0, -1] == CLOUD


def _decide_on_all(folder: Folder, reader: Reader) -> None:
    """Keep, use the prediction, fix and drop, one each; apply it to a second manifest."""
    arguments = (str(folder.manifest), "--predictions", str(folder.predictions), "--who", "ben")
    with running(*arguments) as (_, address):
        reader.open(address)
        for number, keys in enumerate(("k", "p", "fb4", "x")):
            reader.sees(f"set/s{number:03d}")
            reader.press(*keys)
            if keys == "fb4":
                reader.drag((10, 30), (40, 30))
                reader.press("Enter")
        reader.reads("#count", "4 of 4")
        reader.page.click("#export")
        reader.reads("#message", "4 decisions")
    table = folder.decisions.with_suffix(".csv")
    command = ["data", "apply", str(folder.manifest), str(table), "-o"]
    done = CliRunner().invoke(app, [*command, str(folder.path / "second.csv")])
    assert done.exit_code == 0, done.output


def test_a_second_pass_shows_only_what_changed(folder: Folder, reader: Reader) -> None:
    _decide_on_all(folder, reader)
    mask = np.load(folder.path / "set/s000_mask.npy")
    np.save(folder.path / "set/s000_mask.npy", 1 - mask)  # somebody has drawn it anew
    for number, shown in ((1, 32), (2, 16)):  # of another model, which agrees on the second sample
        codes = np.zeros((ROWS, COLUMNS), np.intp)
        codes[:, shown:], codes[40:] = 1, 2
        folder.predict(number, codes)
    arguments = [str(folder.path / "second.csv"), "--decisions", str(folder.decisions)]
    arguments += ["--predictions", str(folder.predictions), "--who", "anna"]
    with running(*arguments) as (_, address):
        reader.open(address)
        reader.sees("set/s000")
        reader.reads("#reason", "label changed since decided")
        reader.reads("#history", "kept by ben")
        assert reader.text("#count") == "1 of 3"
        assert reader.page.locator(".item b").all_inner_texts() == [
            "\u200eset/s000",
            "\u200eset/s002",
        ]
        reader.press("x")
        reader.sees("set/s002")
        reader.reads("#reason", "prediction changed since decided")
        reader.page.select_option("#filter", "changed")
        assert reader.page.locator(".item").count() == 1
        reader.press("p")
        reader.reads("#count", "3 of 3")
        reader.page.reload()
        reader.sees("set/s002")
        reader.page.select_option("#filter", "open")
        reader.page.wait_for_selector("#empty:visible")
        reader.page.select_option("#filter", "decided")
        reader.sees("set/s000")
        assert reader.page.locator(".item").count() == 3
    assert reader.troubles == []
    current = ReviewStore(folder.decisions).current()
    found = {name: (one.action, one.who) for name, one in current.items()}
    assert found == {
        "set/s000": ("drop", "anna"),
        "set/s001": ("prediction", "ben"),
        "set/s002": ("prediction", "anna"),
        "set/s003": ("drop", "ben"),
    }


def test_two_people_draw_on_one_sample_at_once(folder: Folder, browser: Any) -> None:
    label = load_sample(read_manifest(folder.manifest)[0]).label
    lines = {"anna": ((5, 12), (50, 12)), "ben": ((5, 36), (50, 36))}
    with ExitStack() as stack:
        readers, expected = {}, {}
        for who, line in lines.items():
            _, address = stack.enter_context(running(str(folder.manifest), "--who", who))
            readers[who] = reader = stack.enter_context(_reading(browser))
            reader.open(address)
            reader.sees("set/s000")
            reader.press("f", "b", "5")
            expected[who] = label.copy()
            expected[who][_near_line(reader.drag(*line), 8)] = SNOW
            expected[who][-3:] = label[-3:]  # no data, on which nothing is drawn
            reader.page.wait_for_load_state("networkidle")
        for who, reader in readers.items():  # what anna decides takes nothing from ben
            reader.page.reload()
            reader.sees("set/s000")
            reader.reads("#message", "a draft of a fix was kept")
            reader.page.fill("#why", f"snow of {who}")
            reader.press("Enter", "Enter")
            reader.sees("set/s001")
        assert [reader.troubles for reader in readers.values()] == [[], []]
    store = ReviewStore(folder.decisions)
    history = store.history("set/s000")
    assert [(d.who, d.why) for d in history] == [(w, f"snow of {w}") for w in lines]
    for decision in history:
        assert np.array_equal(store.mask(decision), expected[decision.who])


def test_every_tool_works_where_it_was_moved_to(folder: Folder, reader: Reader) -> None:
    review = Review(read_items(read_manifest(folder.manifest)), ReviewStore(":memory:"), who="ben")
    with serving(review, folder.path) as client:
        reader.open(f"http://127.0.0.1:{client.port}")
        reader.sees("set/s000")
        assert reader.page.locator("[data-action=prediction]").is_disabled()
        reader.press("m")  # four panes: drawing in one is drawing in all
        reader.press("f", "6", "w")
        box = reader.page.locator("#view").bounding_box()
        reader.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        reader.page.mouse.wheel(0, -300)
        reader.page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        reader.page.mouse.move(box["x"] + box["width"] / 4 + 2, box["y"] + box["height"] / 4)
        assert "label: water" in reader.text("#probe")
        reader.press("?")
        assert reader.page.locator("#help").is_visible()
        reader.press("Escape")
    assert [t for t in reader.troubles if "404" not in t] == []


def test_a_long_list_stays_light(folder: Folder, reader: Reader) -> None:
    columns, rows = read_table(folder.manifest)
    first = dict(zip(columns, rows[1][1], strict=True))
    names = [f"set/c{number:04d}.npy" for number in range(1000)]
    for name in names:
        (folder.path / name).symlink_to(folder.path / first["image"])
    write_table(folder.manifest, [first | {"image": name} for name in names])
    review = Review(read_items(read_manifest(folder.manifest)), ReviewStore(":memory:"), who="ben")
    with serving(review, folder.path) as client:
        reader.open(f"http://127.0.0.1:{client.port}")
        reader.sees("set/c0000")
        took = []
        for number in range(1, 13):
            reader.press("ArrowRight")
            reader.sees(f"set/c{number:04d}")
            took.append(float(reader.page.locator("#view").get_attribute("data-took")))
        assert reader.page.locator(".item").count() < 60
        reader.page.locator("#list").evaluate("list => list.scrollTop = list.scrollHeight")
        reader.page.locator("#item-999").click()
        reader.sees("set/c0999")
    assert np.median(took) < 1000, took  # an idle machine takes some 10 ms
    assert reader.troubles == []
