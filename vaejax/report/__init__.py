"""One self-contained HTML page for an experiment: its question, answer, command and facts, then figures and tables.

The page loads nothing: styles, script and pictures are inside it, and its content security policy forbids the network.
"""

import base64
import html
import io
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import matplotlib
import pandas as pd
from matplotlib.figure import Figure as Drawing

from vaejax.errors import InputError
from vaejax.storage.files import write_text

OURS = '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy"'
SVG_LIMIT = 600_000  # characters; a drawing that needs more becomes a PNG
PNG_DPI = 192  # two device pixels per CSS pixel
MAGIC = {b"\x89PNG": "image/png", b"GIF8": "image/gif", b"\xff\xd8\xff": "image/jpeg"}


class Figure(NamedTuple):
    """A matplotlib figure (photographs become PNG, drawings SVG with real text), or the bytes of a PNG, GIF or JPEG."""

    picture: Drawing | bytes
    caption: str
    alt: str = ""  # what is seen, for those who can't see it; the caption if empty


class Table(NamedTuple):
    """A frame as a table: numbers with four significant digits; an index that has a name becomes the first column."""

    frame: pd.DataFrame
    caption: str = ""


class Text(NamedTuple):
    """Plain text; an empty line starts a new paragraph."""

    text: str


class Code(NamedTuple):
    """Commands or code, to be copied."""

    text: str


class Tabs(NamedTuple):
    """Alternatives under one row of tabs; on paper and without a script all follow each other under their labels."""

    tabs: Mapping[str, "Block | Sequence[Block]"]


Block = Figure | Table | Text | Code | Tabs


class Section(NamedTuple):
    """A part of the page under its own heading, linked from the top."""

    title: str
    blocks: Sequence[Block]
    lead: str = ""  # one sentence that says what is to be seen here
    closed: bool = False  # whether it is opened by a click


class _Numbers(NamedTuple):
    """The running numbers of one page."""

    figures: Iterator[int]
    tables: Iterator[int]
    tabs: Iterator[int]


def write(
    path: str | os.PathLike[str],
    *,
    title: str,
    question: str,
    answer: str,
    command: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    lead: Figure | None = None,
) -> Path:
    """Writes the page to `path`, whole or not at all; an existing page stays as it was until then.

    Raises:
      InputError: the page can't be written there, another file is there that is no page, a block isn't one, or a
        picture isn't in a format that browsers show.
    """
    words = {"title": title, "question": question, "answer": answer, "command": command}
    text = page(**words, facts=facts, sections=sections, lead=lead)
    _check_place(Path(path))
    write_text(Path(path), text)
    return Path(path)


def page(
    *,
    title: str,
    question: str,
    answer: str,
    command: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    lead: Figure | None = None,
) -> str:
    """The whole page as HTML."""
    numbers = _Numbers(itertools.count(1), itertools.count(1), itertools.count(1))
    first = "" if lead is None else _block(lead, numbers)
    links = "".join(f'<a href="#section-{i}">{_text(s.title)}</a>' for i, s in enumerate(sections, 1))
    body = "".join(_section(section, index, numbers) for index, section in enumerate(sections, 1))
    entries = "".join(f"<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>" for key, value in facts.items())
    return f"""{OURS}
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>
{_asset("style.css")}</style>
</head>
<body>
<header>
<p class="kicker">{_text(title)}</p>
<h1>{_text(question)}</h1>
<div class="answer">{_paragraphs(answer)}</div>
{first}
{_code(command)}
<dl class="facts">{entries}</dl>
</header>
<nav aria-label="Contents">{links}</nav>
<main>
{body}</main>
<dialog class="zoom" aria-label="Enlarged figure"><div></div></dialog>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def _check_place(path: Path) -> None:
    """Nothing, where there is no file yet, an empty one, or a page of ours.

    Raises:
      InputError: there is another file, or a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} can't be written: it is a folder; give the path of a page in it")
    try:
        with open(path, "rb") as file:
            there = file.read(len(OURS.encode()))
    except (OSError, ValueError):  # there is none, or it can't be read: then it can't be written either, which is said
        return
    if there and there != OURS.encode():
        raise InputError(f"{path} is a file, and no page of ours, so it isn't overwritten; give another path")


def _section(section: Section, index: int, numbers: _Numbers) -> str:
    lead = f'<p class="lead">{_text(section.lead)}</p>' if section.lead else ""
    blocks = "\n".join(_block(block, numbers) for block in section.blocks)
    heading = f"<h2>{_text(section.title)}</h2>"
    inside = f"{heading}\n{lead}\n{blocks}"
    if section.closed:
        inside = f"<details>\n<summary>{heading}\n{lead}</summary>\n{blocks}\n</details>"
    return f'<section id="section-{index}">\n{inside}\n</section>\n'


def _block(block: Block, numbers: _Numbers) -> str:
    match block:
        case Figure():
            return _figure(block, next(numbers.figures))
        case Table():
            return _table(block, next(numbers.tables))
        case Text(text):
            return _paragraphs(text)
        case Code(text):
            return _code(text)
        case Tabs(tabs):
            return _tabs(tabs, next(numbers.tabs), numbers)
    raise InputError(f"a report is made of Figure, Table, Text, Code and Tabs, not {type(block).__name__}")


def _figure(figure: Figure, number: int) -> str:
    shown = media(figure.picture, figure.alt or figure.caption, f"figure-{number}")
    return (
        f'<figure id="figure-{number}"><div class="card"><div class="media">{shown}</div>'
        f'<button type="button" class="enlarge" aria-label="Enlarge figure {number}">Enlarge</button></div>'
        f"<figcaption><b>Figure {number}.</b> {_text(figure.caption)}</figcaption></figure>"
    )


def media(picture: Drawing | bytes, alt: str, prefix: str) -> str:
    """The element that shows the picture."""
    if isinstance(picture, bytes):
        return _image(picture, alt, "")
    if not isinstance(picture, Drawing):
        raise InputError(f"a picture is a matplotlib figure or bytes, not {type(picture).__name__}")
    if not any(ax.images for ax in picture.axes):
        svg = _svg(picture, alt, prefix)
        if len(svg) < SVG_LIMIT:
            return svg
    file = io.BytesIO()
    picture.savefig(file, format="png", dpi=PNG_DPI)
    width, height = (round(96 * inches) for inches in picture.get_size_inches())
    return _image(file.getvalue(), alt, f' width="{width}" height="{height}"')


def _image(data: bytes, alt: str, size: str) -> str:
    kind = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise InputError("a picture given as bytes must be a PNG, GIF or JPEG file")
    return f'<img src="data:{kind};base64,{base64.b64encode(data).decode()}" alt="{_text(alt)}"{size}>'


def _svg(drawing: Drawing, alt: str, prefix: str) -> str:
    """The drawing as an element of the page: text stays text, and its ids are unique in the page."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        drawing.savefig(file, format="svg", metadata=nothing)
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", file.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].strip()
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{_text(alt)}"', 1)


def _table(table: Table, number: int) -> str:
    frame = table.frame
    if any(level is not None for level in frame.index.names):
        frame = frame.reset_index(allow_duplicates=True)
    left = ["" if pd.api.types.is_numeric_dtype(kind) else ' class="words"' for kind in frame.dtypes]
    left = ["" if _numeric(frame.iloc[:, column]) else word for column, word in enumerate(left)]
    head = "".join(f'<th scope="col"{word}>{_text(column)}</th>' for column, word in zip(frame, left, strict=True))
    rows = []
    for row in frame.itertuples(index=False):
        cells = [f"<td{word}>{_text(_cell(value))}</td>" for value, word in zip(row, left, strict=True)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<b>Table {number}.</b> {_text(table.caption)}"
    return (
        f'<div class="table" id="table-{number}"><div class="caption">{caption}</div><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></div>"
    )


def _numeric(column: pd.Series) -> bool:
    """Whether most cells read as numbers, so that the column is set flush right."""
    return bool(column.astype(str).str.match(r"[-−+]?\d").mean() > 0.5) if len(column) else False


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return "–"
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)


def _tabs(tabs: Mapping[str, Block | Sequence[Block]], number: int, numbers: _Numbers) -> str:
    panels = []
    for index, (label, content) in enumerate(tabs.items(), 1):
        blocks = [content] if isinstance(content, Figure | Table | Text | Code | Tabs) else content
        inside = "\n".join(_block(block, numbers) for block in blocks)
        panels.append(
            f'<section class="panel" id="tabs-{number}-{index}"><h3 class="label">{_text(label)}</h3>{inside}</section>'
        )
    return f'<div class="tabs">{"".join(panels)}</div>'


def _code(text: str) -> str:
    return f'<div class="code"><pre><code>{_text(text)}</code></pre><button type="button">Copy</button></div>'


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(part)}</p>" for part in re.split(r"\n\s*\n", text.strip()))


def _text(text: object) -> str:
    return html.escape(str(text))


def _asset(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
