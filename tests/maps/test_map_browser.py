"""The map in headless Chromium, as its reader has it: by pointer, by keyboard, light and dark."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from crystalssl.features.features import Features
from crystalssl.maps.page import TEMPLATES
from crystalssl.pipeline import write_map

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
WIDTHS = (390, 1400)
DISORDERED, ODD = 3, 7
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium (docs/evaluation.md)"
)
PROBE = """
<script>
(async () => {
  const tell = seen => {
    const box = document.createElement("pre");
    box.id = "seen"; box.textContent = JSON.stringify(seen);
    document.body.append(box);
  };
  const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
  while (!document.documentElement.dataset.ready) await wait(20);
  try { tell(await (async () => { SCRIPT })()); } catch (error) { tell({error: String(error)}); }
})();
</script>
"""
POINTER = """
  const point = (kind, i) => {
    const box = get("scatter").getBoundingClientRect(), [x, y] = scatter.toScreen(i);
    get("scatter").setPointerCapture = () => {};
    get("scatter").dispatchEvent(new PointerEvent(kind, {
      clientX: box.left + x / scatter.ratio, clientY: box.top + y / scatter.ratio, pointerId: 1,
    }));
  };
  const pick = async i => { point("pointerdown", i); point("pointerup", i); await wait(150); };
  const setColour = async name => {
    get("colour").value = columns.findIndex(column => column.title === name);
    get("colour").onchange(); await wait(100);
  };
  const pixel = i => {
    scatter.paint();
    const [x, y] = scatter.toScreen(i).map(Math.round), data = scatter.canvas.getContext("2d");
    return Array.from(data.getImageData(x, y, 1, 1).data).slice(0, 3);
  };
  const inks = canvas => new Set(new Uint32Array(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
"""


def browse(page, tmp_path, *, dark=False, width=1400):
    """The DOM after the page's scripts, and what the browser complained of."""
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={width},900", "--virtual-time-budget=20000", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert [line for line in lines if "willReadFrequently" not in line] == []  # the probe reads
    return done.stdout


def probe(page_path, tmp_path, script, **options):
    """What a script sees on the page once it is ready."""
    text = page_path.read_text(encoding="utf-8")
    probed = tmp_path / "probed.html"
    added = PROBE.replace("SCRIPT", POINTER + script)
    probed.write_text(text.replace("</body>", added + "</body>"), encoding="utf-8")
    dom = browse(probed, tmp_path, **options)
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the page was never ready"
    seen = json.loads(html.unescape(found[1]))
    assert "error" not in seen, seen
    return seen


def style_of(dark):
    """Colours of the style sheet by name."""
    light, _, rest = (TEMPLATES / "map.css").read_text(encoding="utf-8").partition("}")
    text = rest.partition("}")[0] if dark else light
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text)), re.findall(
        r"#[0-9a-f]{6}", re.search(r"--heat: ([^;]+);", text)[1]
    )


def rgb(text):
    return [int(text[at : at + 2], 16) for at in (1, 3, 5)]


def contrast(first, second):
    """Contrast ratio of WCAG 2."""

    def luminance(colour):
        c = np.array(rgb(colour)) / 255
        c = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(c @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_and_points_stand_out_from_the_page(dark):
    colours, heat = style_of(dark)
    page = colours["page"]
    for name in ("ink", "muted", "accent", "warn"):
        assert contrast(colours[name], page) >= 4.5, name
    for name in [*(f"class-{i}" for i in range(9)), "quiet"]:
        assert contrast(colours[name], page) >= (2.5 if name == "quiet" else 3.0), name
    assert min(contrast(colour, page) for colour in heat) >= 3.0
    steps = [contrast(colour, "#000000") for colour in heat]
    assert steps == sorted(steps)  # brighter is more


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_drawn_without_request_complaint_or_sideways_scrolling(
    page_path, tmp_path, dark, width
):
    framed = tmp_path / "framed.html"
    script = """
      await pick(3);
      for (let k = 0; k < 60 && inks(scatter.canvas) < 2; k++)  // painted with the next frame
        await new Promise(done => setTimeout(done, 50));
      return {
        overflow: document.documentElement.scrollWidth - innerWidth, width: innerWidth,
        requests: performance.getEntriesByType("resource").map(entry => entry.name),
        points: inks(scatter.canvas), atoms: inks(view.canvas),
        page: getComputedStyle(document.body).backgroundColor,
        trouble: !get("trouble").hidden,
      };"""
    inner = page_path.read_text(encoding="utf-8").replace(
        "</body>", PROBE.replace("SCRIPT", POINTER + script) + "</body>"
    )
    teller = """<script>
      const look = setInterval(() => {
        const box = document.querySelector("iframe").contentDocument.getElementById("seen");
        if (!box) return;
        document.getElementById("seen").textContent = box.textContent; clearInterval(look);
      }, 50);
    </script>"""
    frame = f'<iframe width="{width}" height="800" srcdoc="{html.escape(inner)}"></iframe>'
    framed.write_text(f'<meta charset="utf-8"><pre id="seen"></pre>{frame}{teller}', "utf-8")
    dom = browse(framed, tmp_path, dark=dark, width=1500)
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1]))
    assert "error" not in seen, seen
    assert seen["overflow"] <= 0
    assert [name for name in seen["requests"] if not name.startswith("data:")] == []
    assert seen["points"] > 30
    assert seen["atoms"] > 50
    assert not seen["trouble"]
    assert (int(re.search(r"\d+", seen["page"])[0]) < 60) is dark


@needs_browser
def test_a_pointed_at_crystal_is_named_and_a_chosen_one_is_shown_with_its_neighbours(
    page_path, crystals, features, tmp_path
):
    seen = probe(page_path, tmp_path, f"""
      point("pointermove", {DISORDERED});
      const tipText = get("tip").innerText;
      await pick({DISORDERED});
      const first = {{
        id: get("id").textContent, species: get("species").textContent,
        disorder: get("disorder").textContent, near: get("near").children.length,
        values: get("values").innerText, atoms: inks(view.canvas), hash: location.hash,
        unknown: get("unknown").textContent,
      }};
      get("near").querySelector("button").click(); await wait(150);
      const second = get("id").textContent;
      history.back(); await wait(300);
      const back = get("id").textContent;
      await pick({ODD});
      return {{tipText, first, second, back, odd: get("id").textContent, ids}};""")  # fmt: skip
    name = str(crystals.ids[DISORDERED])
    assert name in seen["tipText"]
    assert "Space group:" in seen["tipText"]
    assert "Energy: 3" in seen["tipText"]
    first = seen["first"]
    assert first["id"] == name
    assert first["hash"] == f"#{name}"
    assert "Fe 0.5 + Mn 0.25 + vacancy 0.25" in first["species"]
    assert first["disorder"].startswith("Disordered: 1 of ")
    assert first["near"] == 8
    assert first["atoms"] > 50
    assert "Family" in first["values"]
    z = features.matrix.astype(float)
    z = (z - z.mean(0)) / z.std(0)
    order = np.argsort(np.linalg.norm(z - z[DISORDERED], axis=1))
    assert seen["second"] == seen["ids"][order[1]]
    assert seen["back"] == name
    assert seen["odd"] == seen["ids"][ODD]


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_numbers_classes_and_gaps_have_their_colours(page_path, tmp_path, dark):
    seen = probe(page_path, tmp_path, """
      const legendText = () => get("legend").innerText, out = {};
      out.energy = {low: pixel(1), gap: pixel(5), high: pixel(59), legend: legendText()};
      await setColour("Conductivity"); out.log = legendText();
      await setColour("Family");
      out.family = {first: pixel(0), missing: pixel(1), legend: legendText()};
      get("legend").querySelectorAll("button")[0].click(); await wait(100);
      out.alone = {first: pixel(0), second: pixel(4), matches: get("matches").innerText};
      await setColour("Many"); out.many = legendText();
      return out;""", dark=dark)  # fmt: skip
    colours, heat = style_of(dark)
    energy = seen["energy"]
    assert np.abs(np.array(energy["low"]) - rgb(heat[0])).max() < 12
    assert np.abs(np.array(energy["high"]) - rgb(heat[-1])).max() < 12
    assert energy["gap"] == rgb(colours["missing"])
    assert "no value" in energy["legend"]
    assert "12" in energy["legend"]
    assert "logarithmic" in seen["log"]
    family = seen["family"]
    assert family["first"] in [rgb(colours[f"class-{i}"]) for i in range(3)]
    assert family["missing"] == rgb(colours["missing"])
    assert "no value" in family["legend"]
    assert " of 60 crystals" in seen["alone"]["matches"]
    assert rgb(colours["faded"]) in (seen["alone"]["first"], seen["alone"]["second"])
    assert "others" in seen["many"]


@needs_browser
def test_keys_and_the_search_field_lead_to_crystals(page_path, tmp_path):
    seen = probe(page_path, tmp_path, """
      const press = key => get("scatter").dispatchEvent(new KeyboardEvent("keydown", {key}));
      press("ArrowRight"); await wait(50); const first = scatter.chosen;
      press("ArrowRight"); await wait(50); const second = scatter.chosen;
      press("+"); const zoom = scatter.zoom; press("0"); const whole = scatter.zoom;
      const turn = JSON.stringify(view.turn);
      get("view").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft"}));
      const turned = JSON.stringify(view.turn) !== turn;
      get("find").value = ids[20]; get("find").dispatchEvent(new Event("input"));
      get("find").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"})); await wait(200);
      const searched = scatter.chosen;
      get("find").value = "Zz9"; get("find").dispatchEvent(new Event("input")); await wait(300);
      const none = get("matches").innerText;
      const focusable = [...document.querySelectorAll("button, select, input, [tabindex]")]
        .filter(box => !box.innerText && !box.labels?.length && !box.getAttribute("aria-label"))
        .length;
      return {first, second, right: scatter.x[second] > scatter.x[first], zoom, whole, turned,
        searched, none, focusable};""")  # fmt: skip
    assert seen["first"] >= 0
    assert seen["second"] not in (-1, seen["first"])
    assert seen["right"]
    assert seen["zoom"] > 1
    assert seen["whole"] == 1
    assert seen["turned"]
    assert seen["searched"] == 20
    assert seen["none"].startswith("0 of 60")
    assert seen["focusable"] == 0


@pytest.mark.long
@needs_browser
def test_fifty_thousand_points_are_drawn_within_a_fraction_of_a_second(tmp_path):
    count = 50_000
    values = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    ids = np.array([f"x-{i}" for i in range(count)])
    features = Features(ids=ids, blocks={"x": values})
    written = write_map(features, tmp_path / "many.html", umap=False)
    seen = probe(written.path, tmp_path, """
      const frames = [];
      for (let k = 0; k < 5; k++) { scatter.paint(); frames.push(scatter.frame); }
      const started = performance.now();
      for (let k = 0; k < 1000; k++) scatter.at(100 + k, 300);
      return {frames, hover: (performance.now() - started) / 1000, inks: inks(scatter.canvas)};
    """)  # fmt: skip
    assert min(seen["frames"]) < 500  # milliseconds; 20 to 40 on an idle core
    assert seen["hover"] < 5
    assert seen["inks"] > 2
