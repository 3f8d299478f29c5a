"""The example for browsers forecasts in headless Chromium what the runtime forecasts in Python."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import CONTEXT, HORIZON
from test_parity import TOLERANCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
MODULES = EXAMPLE / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
MODELS = ("linear", "chronos2", "patch_transformer", "mixer")
NAN = float("nan")
WAVE = (20 + 5 * np.sin(np.arange(70) / 3)).tolist()

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not MODULES.is_dir(), reason="run `npm ci` in examples/browser"),
]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what the page sends."""

    answer: Callable[[bytes], None]

    def do_POST(self) -> None:
        type(self).answer(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def series() -> list[list[float]]:
    """Any length, gaps, units, levels and constants."""
    rng = np.random.default_rng(0)
    walks = [rng.standard_normal(length).cumsum() for length in (1, 7, 16, CONTEXT, 3 * CONTEXT)]
    walks[3][-20:-10] = NAN
    walks[4][:-40] = NAN
    scaled = [walks[2] * size for size in (1e-9, 1e9, 1e-200)]
    levels = [walks[2] * 0.01 + 5000, 3 * np.sign(walks[1]) + 2e9]
    others = [np.full(9, 7.0), np.full(40, NAN), np.zeros(5), np.r_[WAVE, np.inf]]
    return [one.tolist() for one in [*walks, *scaled, *levels, *others]]


def in_browser(place: Path, cases: dict[str, Any]) -> dict[str, Any]:
    """What the page answers."""
    text = json.dumps(cases).replace("NaN", "null").replace("Infinity", "null")
    (place / "cases.json").write_text(text)
    answers: list[bytes] = []
    arrived = threading.Event()
    handler = type("One", (Handler,), {"answer": staticmethod(lambda body: (answers.append(body), arrived.set()))})
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(place))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={place / 'profile'}", "--remote-debugging-port=0"]
        url = f"http://127.0.0.1:{server.server_port}/browser_check.html"
        with subprocess.Popen([*command, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                assert arrived.wait(120), "the page did not answer"
            finally:
                browser.terminate()
                server.shutdown()
    return json.loads(answers[0])


@pytest.fixture(scope="module")
def found(exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("browser")
    for path in [*EXAMPLE.glob("*.mjs"), *EXAMPLE.glob("*.html"), Path(__file__).with_name("browser_check.html")]:
        shutil.copy(path, place)
    (place / "node_modules").symlink_to(MODULES)
    for name in (*MODELS, "mixture"):
        shutil.copytree(exported(name).folder, place / name)
    cases = {name: {"series": series(), "steps": HORIZON - 5} for name in MODELS}
    texts = ["1\n2\n\n4\n", "date,sold\n2024-01-01,3\n2024-01-02,4.5\n\n", "sold;note\n1;a\n2;b"]
    table = "day,sold\n" + "\n".join(f"{day},{value}" for day, value in enumerate(WAVE))
    pages = [
        {"model": "linear", "text": table, "steps": 12},
        {"model": "linear", "text": "a\nb", "steps": 12},
        {"model": "mixture", "text": "1", "steps": 1},
    ]
    answer = in_browser(place, {"cases": cases, "texts": texts, "pages": pages})
    assert "error" not in answer, answer["error"]
    return answer


def test_forecasts_are_those_of_the_runtime(found, exported):
    forecasts = iter(found["forecasts"])
    largest = 0.0
    for name in MODELS:
        runtime = exported(name).runtime
        for one in series():
            wanted = runtime.predict(one, HORIZON - 5)
            apart = np.abs(np.array(next(forecasts)) - wanted.quantiles[0]).max() / wanted.scale[0, 0]
            resolved = 1e-15 * np.abs(wanted.loc[0, 0]) / wanted.scale[0, 0]
            assert apart <= TOLERANCE + resolved, (name, one)
            largest = max(largest, apart)
    times = ", ".join(f"{name} {time:.1f} ms" for name, time in found["times"].items())
    print(f"\n{len(MODELS) * len(series())} forecasts, largest difference {largest:.1e} of the scale; {times}")


def test_a_column_is_found(found):
    assert found["columns"] == [[1, 2, None, 4], [3, 4.5], [1, 2]]


def test_the_page_draws_a_forecast_or_says_why_not(found):
    first, *others = found["used"]
    assert first["said"].startswith("70 values read, forecast in ")
    assert first["steps"] == 12
    words = ("no column is mostly numbers", "single students")
    for one, said in zip(others, words, strict=True):
        assert said in one["said"]
        assert one["steps"] == 0
