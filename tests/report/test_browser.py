"""The page in headless Chromium, as a reader sees it: light and dark, wide and on a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
WIDTHS = (390, 1280)
PROBE = """
<script>
addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")];
  const seen = frames.map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    page.querySelectorAll("details").forEach(part => { part.open = true; });
    const drawn = [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
    return {
      overflow: root.scrollWidth - frame.clientWidth,
      figures: drawn.length,
      drawn: drawn.filter(box => box.width > 100 && box.height > 40).length,
      wide: drawn.filter(box => box.right > frame.clientWidth + 1).length,
      page: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
      dark: frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
      requests: frame.contentWindow.performance.getEntriesByType("resource")
        .map(entry => entry.name).filter(name => !name.startsWith("data:")),
    };
  });
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium (docs/evaluation.md)"
)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_drawn_without_complaint_request_or_sideways_scrolling(report, tmp_path, dark):
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border: 0" '
        f'srcdoc="{html.escape(report)}"></iframe>'
        for width in WIDTHS
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f'<meta charset="utf-8"><pre id="seen"></pre>{PROBE}{frames}', "utf-8")
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--window-size=1800,1000", "--dump-dom", wrapper.as_uri(),
        ],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ":CONSOLE" not in done.stderr
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1])
    assert len(seen) == len(WIDTHS)
    wanted = len(re.findall(r"<svg\b", report))
    assert wanted > 20
    for found in seen:
        assert found["figures"] == found["drawn"] == wanted
        assert found["overflow"] <= 0
        assert found["wide"] == 0
        assert found["requests"] == []
        assert found["dark"] is dark
        assert (int(re.search(r"\d+", found["page"])[0]) < 60) is dark
