"""The page is whole: self-contained, escaped, written at once, and really shown by a browser."""

import html.parser
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawing

from tests.test_plots import BETAS, diverge, make_history, make_table
from vaejax import plots, report
from vaejax.errors import InputError

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
NASTY = "<script>alert(1)</script> & \"quoted\" 'too'"


def write(path, sections, **changes):
    words = {"title": "β-VAE", "question": "What does β do?", "answer": "It trades.", "command": "make sweep"}
    return report.write(path, **(words | {"facts": {"Steps": "6000"}} | changes), sections=sections)


def drawing():
    figure = Drawing()
    figure.add_subplot().plot([1, 2], [3, 4])
    return figure


def png():
    file = io.BytesIO()
    drawing().savefig(file, format="png", dpi=30)
    return file.getvalue()


def whole_report():
    table = diverge(make_table(), runs=(14,))
    images = np.random.default_rng(0).random((3, 4, 16, 16, 1))
    traversals = {
        plots.label("beta", beta): [
            report.Text("From −3 to 3."),
            report.Figure(plots.image_grid(images), f"β = {beta:g}"),
        ]
        for beta in BETAS
    }
    return [
        report.Section(
            "Trade-off",
            [
                report.Figure(plots.rate_distortion(table), "Rate and distortion."),
                report.Figure(plots.curves(table), "Metrics."),
                report.Figure(plots.kl_per_latent(table), "Latents."),
                report.Table(plots.summary_table(table), "Means."),
            ],
            lead="A larger β buys rate with distortion.",
        ),
        report.Section("Pictures", [report.Tabs(traversals), report.Figure(png(), "Bytes.", "a line")]),
        report.Section("Training", [report.Figure(plots.learning_curves(make_history()), "Loss.")], closed=True),
    ]


class Elements(html.parser.HTMLParser):
    """Every element's name and attributes, and every piece of text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("report") / "report.html", whole_report())


def test_nothing_is_loaded_from_outside(whole):
    page = whole.read_text()
    assert not re.findall(r"https?:|//\w+\.|@import|url\((?!#)", page)
    elements = Elements(page).elements
    for tag, attributes in elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, name)
        assert tag not in ("link", "iframe", "object", "embed", "base")
    assert any("default-src 'none'" in (attributes.get("content") or "") for _, attributes in elements)


def test_ids_are_unique_and_links_lead_somewhere(whole):
    elements = Elements(whole.read_text()).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes[name] for _, attributes in elements for name in ("href", "xlink:href") if name in attributes}
    links = {link.removeprefix("#") for link in links if not link.startswith("data:")}
    links |= set(re.findall(r"url\(#([^)]+)\)", whole.read_text()))
    assert links and links <= set(ids)


def test_figures_are_numbered_captioned_and_described(whole):
    page = Elements(whole.read_text())
    figures = [attributes["id"] for tag, attributes in page.elements if tag == "figure"]
    assert figures == [f"figure-{number}" for number in range(1, 11)]
    assert sum(tag == "figcaption" for tag, _ in page.elements) == 10
    described = [a.get("alt") or a.get("aria-label") for tag, a in page.elements if tag in ("img", "svg")]
    assert len(described) == 10 and all(described) and "a line" in described
    assert "Figure 10." in page.texts and "1 of 3 runs diverged" in page.texts
    assert "KL (nats/image)" in [text.strip() for text in page.texts]  # a figure's title, as text


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome here to load the page in")
def test_a_browser_decodes_every_figure(whole, tmp_path):
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path}", "--dump-dom", whole.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root, done.stderr
    assert 'data-figures="10"' in root[0] and 'data-figures-loaded="10"' in root[0]
    assert done.stdout.count('role="tab"') == 5 and done.stdout.count("panel closed") == 4
    assert "violates the following Content Security Policy" not in done.stderr


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome here to load the page in")
def test_a_browser_tells_of_a_broken_figure(tmp_path):
    path = write(tmp_path / "r.html", [report.Section("S", [report.Figure(b"\x89PNG nonsense", "broken")])])
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert 'data-figures="1"' in page and 'data-figures-loaded="0"' in page


def test_everything_is_escaped(tmp_path):
    frame = pd.DataFrame({NASTY: [NASTY]}, index=pd.Index([NASTY], name=NASTY))
    figure = drawing()
    figure.axes[0].set_title(NASTY.replace("$", ""))
    blocks = [
        report.Text(NASTY),
        report.Code(NASTY),
        report.Table(frame, NASTY),
        report.Figure(figure, NASTY, NASTY),
        report.Figure(png(), NASTY),
        report.Tabs({NASTY: report.Text(NASTY)}),
    ]
    words = dict.fromkeys(("title", "question", "answer", "command"), NASTY)
    path = write(tmp_path / "r.html", [report.Section(NASTY, blocks, NASTY)], facts={NASTY: NASTY}, **words)
    page = Elements(path.read_text())
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert sum(NASTY in text for text in page.texts) >= 18
    assert [a["alt"] for tag, a in page.elements if tag == "img"] == [NASTY]


def test_text_that_utf8_cannot_hold_is_written_all_the_same(tmp_path):
    page = write(tmp_path / "r.html", [], answer="a file called \udcff").read_bytes()
    assert b"a file called ?" in page


def test_text_becomes_paragraphs_and_numbers_are_readable(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "value": [1.23456789, np.nan], "count": [3, -4]})
    blocks = [report.Text("One.\n\nTwo,\nstill two."), report.Table(frame)]
    page = write(tmp_path / "r.html", [report.Section("S", blocks)]).read_text()
    assert "<p>One.</p><p>Two,\nstill two.</p>" in page
    assert '<td class="words">a</td><td>1.235</td><td>3</td>' in page and "<td>–</td><td>-4</td>" in page


def test_drawings_become_svg_and_photographs_png():
    assert report.media(drawing(), "", "a").startswith("<svg")
    photograph = report.media(plots.image_grid(np.zeros((1, 1, 8, 8, 1))), "", "a")
    assert photograph.startswith('<img src="data:image/png') and "width=" in photograph


def test_a_drawing_with_too_many_parts_becomes_a_png():
    figure = drawing()
    figure.axes[0].scatter(*np.random.default_rng(0).random((2, 10_000)))
    assert report.media(figure, "", "a").startswith('<img src="data:image/png')


def test_a_page_is_the_same_every_time(whole, tmp_path):
    assert write(tmp_path / "again.html", whole_report()).read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("block", ["a string", report.Figure(b"text", "c"), report.Figure("a path", "c")])
def test_what_is_not_a_block_is_refused_and_nothing_is_written(tmp_path, block):
    with pytest.raises(InputError):
        write(tmp_path / "r.html", [report.Section("S", [block])])
    assert not list(tmp_path.iterdir())


def test_a_failing_write_is_one_line_that_names_the_page(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    for path in (tmp_path / "missing" / "r.html", tmp_path / "file" / "r.html", tmp_path / "directory"):
        with pytest.raises(InputError, match=f"{path} can't be written"):
            write(path, [])
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def test_a_full_disk_leaves_the_old_page(tmp_path):
    path = tmp_path / "r.html"
    old = write(path, []).read_text()
    script = (
        "import resource, sys; from vaejax import InputError, report\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: report.write(sys.argv[1], title='', question='', answer='x' * 9999, command='', facts={}, sections=[])\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120)
    assert "can't be written (File too large)" in done.stdout, done.stderr
    assert path.read_text() == old and os.listdir(tmp_path) == ["r.html"]


def test_the_pages_parts_are_packaged():
    folder = Path(report.__file__).parent
    assert {"style.css", "page.js"} <= {path.name for path in folder.iterdir()}
