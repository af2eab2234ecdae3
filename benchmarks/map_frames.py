"""Frame times of the map with 50,000 points and structures, in headless Chromium without a GPU.

Run: python benchmarks/map_frames.py [--points 50000] [--keep PAGE.html]. Bundled crystals under new
ids, on a plane of 400 clusters. A script in the page drags and zooms the map once a frame and
records how long each ``requestAnimationFrame`` and each repaint took, finding the point under the
pointer, and showing a crystal in 3D from a chunk not opened yet. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

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
  const pre = document.createElement("pre"); pre.id = "seen";
  pre.textContent = JSON.stringify({frames, paints, hover, shown, ready: ready - opened});
  document.body.append(pre);
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


def main() -> None:
    """Draw the page, browse it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    text = page(options.points)
    if options.keep is not None:
        write_text(text, options.keep)
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.html"
        probe = PROBE.replace("MIDDLE", str(options.points // 2))
        write_text(text.replace("</body>", probe + "</body>"), path)
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900",
             f"--user-data-dir={folder}/profile", "--timeout=120000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    if seen is None:
        raise SystemExit(f"The page was never ready: {done.stderr[-2000:]}")
    figures = json.loads(html.unescape(seen[1]))
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
