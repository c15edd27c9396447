"""What a person sees of a result: readable, capped, and never the server's own HTML."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import mcp_types as mcp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from mcpnb.calls.results import Image, ResourceContents, ToolResult
from mcpnb.errors import CallError

# How long an example takes says something about the machine, and nothing about these rules.
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
ENCODED = base64.b64encode(PNG).decode()
OUR_TAGS = {"div", "table", "thead", "tbody", "tr", "th", "td", "p", "pre", "img"}
OUR_TAGS |= {"details", "summary"}
EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>[a](javascript:alert(1))\"'&"
HIDDEN = "\x1b[2Jsafe\u202egnp.exe\u2066\x00\r\ud800"


@pytest.fixture(scope="module")
def shell() -> Any:
    """A real IPython, which keeps nothing on disk."""
    config = Config({"HistoryManager": {"enabled": False}})
    return InteractiveShell(config=config)  # type: ignore[no-untyped-call]


class Page(HTMLParser):
    """Collects what a browser would make of a display."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def made_of(*content: mcp.ContentBlock, name: str = "", **fields: Any) -> ToolResult:
    return ToolResult(mcp.CallToolResult(content=list(content), **fields), name=name)


def result(*texts: str, **fields: Any) -> ToolResult:
    return made_of(*(mcp.TextContent(text=text) for text in texts), **fields)


def picture(data: str = ENCODED, mime_type: str = "image/png") -> mcp.ImageContent:
    return mcp.ImageContent(data=data, mime_type=mime_type)


def html(r: Any) -> str:
    return str(r._repr_mimebundle_()["text/html"])


def assert_harmless(r: Any) -> None:
    bundle = r._repr_mimebundle_()
    page = Page(bundle.get("text/html", ""))
    assert set(page.tags) <= OUR_TAGS
    assert {name for name, _ in page.attributes} <= {"class", "dir", "style", "alt", "src"}
    sources = [value for name, value in page.attributes if name == "src"]
    inline = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*")
    assert all(inline.fullmatch(source) for source in sources)
    for shown in (page.text, bundle["text/plain"]):
        assert all(c.isprintable() or c == "\n" for c in shown)
        shown.encode("utf-8")


class TestInANotebook:
    def test_ipython_shows_the_table(self, shell: Any) -> None:
        """IPython's own formatter takes the HTML table, and the plain one beside it."""
        formats, _ = shell.display_formatter.format(result('[{"a": 1, "b": "x"}]'))

        assert set(formats) == {"text/html", "text/plain"}
        assert Page(formats["text/html"]).tags.count("td") == 2
        assert formats["text/plain"].endswith("a  b\n-  -\n1  x")

    def test_pictures_then_table_then_text_then_folded_data(self) -> None:
        """The parts come in one order, whatever order the server sent them in."""
        r = made_of(
            mcp.TextContent(text="words"),
            picture(),
            structured_content={"rows": [{"a": 1}], "total": 7},
        )
        shown = html(r)

        order = [shown.index(part) for part in ("<img", "<table", "words", "<details")]
        assert order == sorted(order)
        assert "&quot;total&quot;: 7" in shown

    def test_a_picture_alone_is_a_picture(self, shell: Any) -> None:
        """It goes out under its own type, which every viewer of a notebook file shows."""
        formats, _ = shell.display_formatter.format(made_of(picture()))

        assert set(formats) == {"image/png", "text/plain"}
        assert formats["image/png"] == ENCODED

    def test_an_image_displays_by_itself(self, shell: Any) -> None:
        """``r.images[0]`` in a cell is the picture."""
        formats, _ = shell.display_formatter.format(Image(ENCODED, "image/png"))

        assert formats["image/png"] == ENCODED
        assert Image(ENCODED, "image/png")._repr_png_() == PNG

    def test_the_same_data_are_not_shown_twice(self) -> None:
        """The SDK's servers send data structured and as text: one of them is enough."""
        rows = [{"a": 1}, {"a": 2}]
        once = result('[{"a": 1}, {"a": 2}]', structured_content={"result": rows})
        each = result('{"a": 1}', '{"a": 2}', structured_content={"result": rows})
        words = result("x", "y", structured_content={"result": ["x", "y"]})

        for r in (once, each, words):
            assert "<pre" not in html(r)
            assert repr(r).startswith("<ToolResult: table of 2 rows and 1 column>")

    def test_different_text_beside_data_is_shown(self) -> None:
        """A summary in words is no repetition."""
        assert "two rows" in html(result("two rows", structured_content={"result": [1, 2]}))

    def test_an_error_says_that_it_is_one(self) -> None:
        """An error never looks like a result, not even if it is a picture."""
        for r in (result("gone", is_error=True), made_of(picture(), is_error=True)):
            assert "The tool reported an error." in html(r)
            assert repr(r).startswith("<ToolResult, an error: ")

    def test_what_is_not_shown_is_named(self) -> None:
        """Sound, files and links are mentioned, with the way to get at them."""
        blob = mcp.BlobResourceContents(uri="data://f", mime_type="application/pdf", blob="aGk=")
        r = made_of(
            mcp.AudioContent(data="aGk=", mime_type="audio/wav"),
            mcp.EmbeddedResource(resource=blob),
            mcp.ResourceLink(name="report", uri="data://report"),
        )

        for shown in (html(r), repr(r)):
            assert "audio/wav, 2 bytes: see .raw" in shown
            assert "application/pdf, 2 bytes, “data://f”: see .raw" in shown
            assert "resource “report” at “data://report”: read(uri) fetches it" in shown

    def test_nothing_is_shown_as_nothing(self) -> None:
        """An empty result is no empty cell."""
        assert "No content." in html(result())
        assert repr(result()) == "<ToolResult: no content>"

    def test_data_without_text_are_shown(self) -> None:
        """A single value, and an object, have a display of their own."""
        assert "<pre" in html(result(structured_content={"result": 5}))
        assert "object with 2 members" in html(result(structured_content={"a": 1, "b": [1, "x"]}))
        assert repr(result(structured_content={"result": "words"})).endswith(">\nwords")

    def test_a_resource_says_where_it_is_from(self) -> None:
        """`read(uri)` shows the address, the type and the content."""
        part = mcp.TextResourceContents(uri="data://t", mime_type="text/plain", text="words")
        raw = mcp.ReadResourceResult(contents=[part], ttl_ms=0, cache_scope="private")
        r = ResourceContents(raw, "data://t")

        assert repr(r) == (
            "<ResourceContents of “data://t”, text/plain: text of 5 characters>\nwords"
        )
        assert "words" in html(r)

    def test_a_json_resource_is_shown_as_data(self) -> None:
        """JSON text is a table or folded, like a tool's data."""
        part = mcp.TextResourceContents(uri="data://t", text='{"a": {"b": 1}}')
        raw = mcp.ReadResourceResult(contents=[part], ttl_ms=0, cache_scope="private")

        assert "<details><summary>object with 1 member</summary>" in html(
            ResourceContents(raw, "data://t")
        )


class TestWhatAServerCannotDo:
    @pytest.mark.threat("markup-from-servers")
    @pytest.mark.parametrize("evil", [EVIL, HIDDEN, "$\\href{javascript:alert(1)}{x}$"])
    def test_its_words_are_only_words(self, evil: str) -> None:
        """Text, cells, column names, data, links, types, addresses, names: all of it is escaped."""
        blob = mcp.BlobResourceContents(uri=evil, mime_type=evil, blob="aGk=")
        parts = (
            mcp.ResourceLink(name=evil, uri=evil),
            mcp.AudioContent(data="", mime_type=evil),
            mcp.EmbeddedResource(resource=blob),
            picture(mime_type=evil),
            picture(data=evil),
        )
        for data in ([{evil: evil}], {"a": evil, evil: {"b": [evil]}}, {"result": evil}):
            text = mcp.TextContent(text=evil)
            assert_harmless(made_of(*parts, structured_content=data, name=evil))
            assert_harmless(made_of(text, *parts, structured_content=data, is_error=True))

    @pytest.mark.threat("formulas-and-markdown")
    def test_it_gets_no_markdown_and_no_formulas(self) -> None:
        """No Markdown is offered to the page, and MathJax is kept out."""
        bundle = result("# Title $x$ ![](https://example.com/x.png)")._repr_mimebundle_()

        assert set(bundle) == {"text/plain", "text/html"}
        assert "tex2jax_ignore mathjax_ignore" in bundle["text/html"]

    @pytest.mark.slow
    @pytest.mark.threat("picture-that-is-a-script")
    @pytest.mark.parametrize(
        ("data", "mime_type"),
        [
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml"),
            (b"<svg onload='alert(1)'/>", "image/png"),
            (PNG, "image/svg+xml"),
            (PNG, "text/html"),
            (b"\x89PNG\r\n\x1a\n" + bytes(9_000_000), "image/png"),
        ],
    )
    def test_only_real_pictures_are_shown_inline(self, data: bytes, mime_type: str) -> None:
        """SVG, other types, mislabelled bytes and huge files are named, not shown."""
        r = made_of(picture(base64.b64encode(data).decode(), mime_type))

        assert "<img" not in html(r)
        assert "is not shown here; see .images" in html(r)
        assert set(r.images[0]._repr_mimebundle_()) == {"text/plain"}

    @pytest.mark.parametrize(
        ("data", "mime_type"),
        [
            (PNG, "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ],
    )
    def test_four_formats_are(self, data: bytes, mime_type: str) -> None:
        """PNG, JPEG, GIF and WebP; a wrong one of these names is put right."""
        encoded = base64.b64encode(data).decode()

        assert Image(encoded, mime_type)._repr_mimebundle_()[mime_type] == encoded
        assert Image(encoded, "IMAGE/PNG; x=y").inline_type == mime_type

    @pytest.mark.slow
    @any_speed
    @given(
        st.lists(st.text(), max_size=4),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=15,
        ),
        st.binary(max_size=20),
    )
    def test_nothing_it_sends_breaks_a_display(
        self, texts: list[str], data: Any, image: bytes
    ) -> None:
        """Any text, data and bytes give a display, and a harmless one."""
        content = [mcp.TextContent(text=text) for text in texts]
        for encoded in (base64.b64encode(image).decode(), image.decode("latin-1")):
            assert_harmless(made_of(*content, picture(encoded), structured_content=data))

    def test_broken_bytes_of_a_resource_break_no_display(self) -> None:
        """What is no base64 is named like any file; only `.data` fails."""
        part = mcp.BlobResourceContents(uri="data://b", blob="no base64!")
        raw = mcp.ReadResourceResult(contents=[part], ttl_ms=0, cache_scope="private")
        r = ResourceContents(raw, "data://b")

        assert_harmless(r)
        with pytest.raises(CallError, match="not base64"):
            _ = r.data

    @pytest.mark.slow
    @pytest.mark.parametrize("data", ["deep", "number", "cells"])
    def test_monsters_have_a_display_too(self, data: str) -> None:
        """Endless nesting and numbers too long to print are cut off."""
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        monsters = {"deep": {"x": deep}, "number": {"x": 10**5_000}, "cells": [{"x": deep}]}
        r = result("words", structured_content=monsters[data])

        assert "…" in html(r)
        assert "…" in repr(r)


class TestCaps:
    def test_rows_and_columns_left_out_are_counted(self) -> None:
        """The display says how much more there is."""
        r = result(structured_content={"result": [{f"c{i}": i for i in range(30)}] * 1_000})

        assert Page(html(r)).tags.count("tr") == 61
        assert "… 940 more rows and 10 more columns not shown" in html(r)
        assert "table of 1,000 rows and 30 columns" in repr(r)
        assert re.search(r"… 980 more rows and \d+ more columns not shown", repr(r))

    @pytest.mark.threat("megabytes-shown")
    def test_cells_are_cut(self) -> None:
        """One long cell does not make the table unreadable, nor many of them the file huge."""
        r = result(structured_content={"result": [{"a": "x" * 10**6, "b": ["y"] * 10**6}] * 500})

        assert len(html(r)) < 100_000
        assert max(map(len, repr(r).splitlines())) <= 100

    def test_text_left_out_is_counted(self) -> None:
        """Long text is cut, in characters and in lines."""
        assert "… 980,000 more characters not shown" in html(result("x" * 10**6))
        assert "… 998,000 more characters not shown" in repr(result("x" * 10**6))
        assert "not shown" in repr(result("x\n" * 100))

    def test_data_left_out_is_mentioned(self) -> None:
        """Long data are cut, and `.data` has them."""
        r = result(structured_content={"a": {"b": list(range(10**6))}})

        assert "… the rest is not shown" in html(r)
        assert len(html(r)) < 200_000
        assert len(repr(r)) < 3_000

    def test_pictures_left_out_are_counted(self) -> None:
        """Eight are shown."""
        r = made_of(*[picture()] * 20)

        assert html(r).count("<img") == 8
        assert "… 12 more images not shown" in html(r)
        assert "… 12 more images not shown" in repr(r)

    def test_a_table_says_what_stands_beside_it(self) -> None:
        """In a terminal, the members beside the rows are on a line of their own."""
        r = result(structured_content={"rows": [{"a": 1}], "next": "c2"})

        assert repr(r).endswith('next to the table: {"next": "c2"}')

    def test_rows_without_names_are_a_table_too(self) -> None:
        """Lists of one length have numbered columns; of unequal length they are data."""
        assert repr(result("[[1, 2], [3, 4]]")).splitlines()[1:] == ["0  1", "-  -", "1  2", "3  4"]
        assert repr(result("[[1], [2, 3]]")).startswith("<ToolResult: list of 2 items>")

    def test_a_table_is_never_wider_than_a_terminal(self) -> None:
        """Columns are narrowed, then left out and counted."""
        wide = result(structured_content={"result": [{f"c{i}": "x" * 60 for i in range(12)}]})
        lines = repr(wide).splitlines()

        assert max(map(len, lines)) <= 100
        assert re.search(r"… \d more columns not shown", lines[-1])

    def test_a_big_table_is_cut_as_a_whole(self) -> None:
        """Many long cells do not add up to a huge notebook file."""
        r = result(structured_content={"result": [{f"c{i}": "x" * 200 for i in range(20)}] * 60})

        assert len(html(r)) < 150_000
        assert "… 45 more rows not shown" in html(r)
