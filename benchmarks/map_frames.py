"""Frame times of the map with 50,000 points and structures, in headless Chromium without a GPU.

Run: python benchmarks/map_frames.py [--points 50000] [--keep PAGE.html]. Bundled crystals under new
ids, on a plane of 400 clusters. A script in the page drags and zooms the map once a frame and
records how long each ``requestAnimationFrame`` and each repaint took, finding the point under the
pointer, and showing a crystal in 3D from a chunk not opened yet. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.datasets.bundled import load_bundled
from crystalssl.files import write_text
from crystalssl.maps.crystal_map import CrystalMap, Plane, columns_of, formulas_of
from crystalssl.maps.page import render_map

PROBE = """
<script>
(async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const opened = performance.now();
  while (!document.documentElement.dataset.ready) await wait(10);
  const ready = performance.now();
  const frames = [], paints = [], box = get("scatter"), area = box.getBoundingClientRect();
  box.setPointerCapture = () => {};
  const paint = scatter.paint.bind(scatter);
  scatter.paint = () => {
    const t = performance.now(); paint(); paints.push(performance.now() - t);
  };
  const fire = (kind, x, y) => box.dispatchEvent(new PointerEvent(kind, {
    clientX: area.left + x, clientY: area.top + y, pointerId: 1, buttons: 1}));
  const frame = () => new Promise(requestAnimationFrame);
  fire("pointerdown", 300, 300);
  let last = await frame();
  for (let i = 0; i < 60; i++) {
    fire("pointermove", 300 + 3 * i, 300 + i);
    const now = await frame(); frames.push(now - last); last = now;
  }
  fire("pointerup", 480, 360);
  for (let i = 0; i < 60; i++) {
    box.dispatchEvent(new WheelEvent("wheel", {deltaY: i < 30 ? -60 : 60, clientX: area.left + 400,
      clientY: area.top + 300, cancelable: true}));
    const now = await frame(); frames.push(now - last); last = now;
  }
  const asked = performance.now();
  for (let i = 0; i < 200; i++) fire("pointermove", 100 + 2 * i, 200 + i);
  const hover = (performance.now() - asked) / 200;
  const before = performance.now();
  choose(MIDDLE); await showStructure(MIDDLE);
  const shown = performance.now() - before;
  const figures = {frames, paints, hover, shown, ready: ready - opened};
  await fetch("/figures", {method: "POST", body: JSON.stringify(figures)});
})();
</script>
"""


def page(count: int) -> str:
    """The map as text."""
    bundled = load_bundled()
    random = np.random.default_rng(0)
    rows = random.integers(0, len(bundled), count)
    crystals = bundled.take(rows)
    crystals = replace(crystals, ids=np.array([f"c-{row}" for row in range(count)]))
    centres = random.normal(size=(400, 2))
    points = centres[random.integers(0, 400, count)] + 0.1 * random.normal(size=(count, 2))
    numbers = np.arange(count)
    shown = CrystalMap(
        title="Frames", ids=crystals.ids, formulas=formulas_of(crystals, numbers),
        planes=(Plane(title="clusters", points=points.astype(np.float32), note=""),),
        columns=columns_of(crystals, None, numbers, ["band_gap"], None),
        crystals=crystals, stored=numbers,
    )  # fmt: skip
    return render_map(shown)


def browsed(text: str, seconds: float = 300) -> dict[str, Any]:
    """What the probe of a page sends back from a browser, over the loopback."""
    answers: queue.Queue[bytes] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode() if self.path == "/" else b"")

        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900",
             f"--user-data-dir={folder}", "--remote-debugging-port=0",
             f"http://127.0.0.1:{server.server_port}/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            figures: dict[str, Any] = json.loads(answers.get(timeout=seconds))
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
    return figures


def main() -> None:
    """Draw the page, browse it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    text = page(options.points)
    if options.keep is not None:
        write_text(text, options.keep)
    probed = text.replace("</body>", PROBE.replace("MIDDLE", str(options.points // 2)) + "</body>")
    figures = browsed(probed)
    frames, paints = np.array(figures["frames"]), np.array(figures["paints"])
    print(
        json.dumps(
            {
                "points": options.points,
                "page_mb": round(len(text.encode()) / 2**20, 1),
                "ready_ms": round(figures["ready"]),
                "frame_ms": [round(float(q), 1) for q in np.quantile(frames, [0.5, 0.95])],
                "repaint_ms": [round(float(q), 1) for q in np.quantile(paints, [0.5, 0.95])],
                "hover_ms": round(figures["hover"], 3),
                "crystal_ms": round(figures["shown"]),
            }
        )
    )


if __name__ == "__main__":
    main()
