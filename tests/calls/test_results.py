"""What a call's result gives to a person's code, and what a person sees of it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import mcp_types as mcp
import pytest

from mcpnb.calls.results import Image, ResourceContents, ToolResult, tool_error
from mcpnb.errors import CallError, ToolError

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
ENCODED = base64.b64encode(PNG).decode()
OUR_TAGS = {"div", "table", "thead", "tbody", "tr", "th", "td", "p", "pre", "img"}
OUR_TAGS |= {"details", "summary"}
EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>[a](javascript:alert(1))\"'&"
HIDDEN = "\x1b[2Jsafe\u202egnp.exe\u2066\x00\r\ud800"


def made_of(*content: mcp.ContentBlock, name: str = "", **fields: Any) -> ToolResult:
    return ToolResult(mcp.CallToolResult(content=list(content), **fields), name=name)


def result(*texts: str, **fields: Any) -> ToolResult:
    return made_of(*(mcp.TextContent(text=text) for text in texts), **fields)


def structured(value: object, *texts: str) -> ToolResult:
    return result(*texts, structured_content={"result": value})


def picture(data: str = ENCODED, mime_type: str = "image/png") -> mcp.ImageContent:
    return mcp.ImageContent(data=data, mime_type=mime_type)


def read(*contents: mcp.TextResourceContents | mcp.BlobResourceContents) -> ResourceContents:
    # A cache hint is a field of every result of 2026-07-28; readers of a resource see none of it.
    raw = mcp.ReadResourceResult(contents=list(contents), ttl_ms=0, cache_scope="private")
    return ResourceContents(raw, "data://one")


def text_at(uri: str, text: str, mime_type: str | None = None) -> mcp.TextResourceContents:
    return mcp.TextResourceContents(uri=uri, text=text, mime_type=mime_type)


class TestData:
    @pytest.mark.parametrize(
        ("content", "data"),
        [
            ({"a": 2, "b": 3}, {"a": 2, "b": 3}),
            ({"result": [1, 2]}, [1, 2]),
            ({"result": "x"}, "x"),
            ({"result": {"deep": 1}}, {"deep": 1}),
            ({"result": None}, None),
            ({"result": 1, "next": 2}, {"result": 1, "next": 2}),
        ],
    )
    def test_structured_content_comes_first_without_the_sdks_wrapping(
        self, content: Any, data: object
    ) -> None:
        """What is no object arrives as ``{"result": value}``, and is given as `value`."""
        assert result('{"a": 1}', structured_content=content).data == data

    @pytest.mark.parametrize(
        ("text", "data"),
        [
            ('{"a": [1]}', {"a": [1]}),
            ("42", 42),
            ("null", None),
            ("plain words", "plain words"),
            ("NaN", "NaN"),
            ("[Infinity]", "[Infinity]"),
            ("", ""),
            ("[" * 100_000, "[" * 100_000),
            ("9" * 5_000, "9" * 5_000),
        ],
    )
    def test_text_is_parsed_only_if_it_is_json(self, text: str, data: object) -> None:
        """JSON text becomes values; any other text, however odd, stays what it is."""
        assert result(text).data == data

    def test_an_empty_result_has_no_data_and_an_empty_text(self) -> None:
        assert (result().data, result().text) == (None, "")

    def test_text_joins_all_text_parts_and_resource_texts(self) -> None:
        r = made_of(
            mcp.TextContent(text="one"),
            mcp.EmbeddedResource(resource=text_at("data://x", "two")),
            mcp.ImageContent(data="", mime_type="image/png"),
            mcp.ResourceLink(name="report", uri="data://report"),
            mcp.TextContent(text="three"),
        )

        assert r.text == "one\ntwo\nthree"

    def test_raw_is_the_sdks_own_result(self) -> None:
        raw = mcp.CallToolResult(content=[], is_error=True)

        assert ToolResult(raw).raw is raw
        assert ToolResult(raw).is_error


class TestImages:
    def test_pictures_come_as_bytes_with_their_type(self) -> None:
        blob = mcp.BlobResourceContents(uri="data://p", mime_type="image/gif", blob="R0lGODlh")
        png, gif = made_of(picture(), mcp.EmbeddedResource(resource=blob)).images

        assert (png.data, png.mime_type) == (PNG, "image/png")
        assert (gif.data, gif.mime_type) == (b"GIF89a", "image/gif")

    @pytest.mark.parametrize("data", [b"", b"\xff\xfe\xfd" * 20, PNG])
    def test_base64_is_read_in_every_dialect(self, data: bytes) -> None:
        """Line ends, the URL-safe alphabet and missing padding are all understood."""
        wrapped = base64.encodebytes(data).decode()
        url_safe = base64.urlsafe_b64encode(data).decode().rstrip("=")

        assert Image(wrapped, "image/png").data == data
        assert Image(url_safe, "image/png").data == data

    def test_a_broken_picture_hides_no_other(self) -> None:
        broken, good = made_of(picture("no base64!"), picture("R0lGODlh", "image/gif")).images

        assert good.data == b"GIF89a"
        with pytest.raises(CallError, match="not base64"):
            broken.data  # noqa: B018 - reading it is what fails

    def test_save_writes_the_bytes(self, tmp_path: Any) -> None:
        path = Image(ENCODED, "image/png").save(tmp_path / "p.png")

        assert path.read_bytes() == PNG


class TestResources:
    def test_json_text_and_bytes_are_read_as_such(self) -> None:
        json = text_at("data://j", "[1]", "application/json")
        text = text_at("data://t", "words")
        blob = mcp.BlobResourceContents(uri="data://b", blob="aGk=")

        assert read(json).data == [1]
        assert read(text).data == "words"
        assert read(blob).data == b"hi"
        assert read(json, text, blob).data == [[1], "words", b"hi"]
        assert read().data is None

    def test_it_knows_where_it_is_from_and_what_it_is(self) -> None:
        r = read(text_at("data://t", "words", "text/plain"))

        assert (r.uri, r.mime_type, r.text) == ("data://one", "text/plain", "words")
        assert r.raw.contents[0].uri == "data://t"

    def test_an_image_resource_is_a_picture(self) -> None:
        r = read(mcp.BlobResourceContents(uri="data://p", mime_type="image/png", blob=ENCODED))

        assert r.images[0].data == PNG
        assert r._repr_mimebundle_()["image/png"] == ENCODED


class TestToolErrors:
    def test_it_quotes_what_the_tool_said(self) -> None:
        r = result("No such\x1b[31m file.\nTry another.", is_error=True)
        error = tool_error("open", r)

        assert isinstance(error, ToolError)
        assert error.result is r
        assert str(error) == (
            "The tool “open” reported an error: “No such [31m file. Try another.”"
        )

    def test_it_quotes_structured_content_where_there_is_no_text(self) -> None:
        error = tool_error("open", result(structured_content={"why": "gone"}, is_error=True))

        assert '{"why": "gone"}' in str(error)
        assert str(tool_error("open", result(is_error=True))).endswith("did not say why.")

    def test_it_is_capped(self) -> None:
        assert len(str(tool_error("o" * 500, result("x" * 10**6, is_error=True)))) < 1_300


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
        r = made_of(
            mcp.TextContent(text="words"),
            picture(),
            structured_content={"rows": [{"a": 1}], "total": 7},
        )
        shown = html(r)

        order = [shown.index(part) for part in ("<img", "<table", "words", "<details")]
        assert order == sorted(order)
        assert "&quot;total&quot;: 7" in shown

    @pytest.mark.parametrize("shown", [made_of(picture()), Image(ENCODED, "image/png")])
    def test_a_picture_alone_is_a_picture(self, shell: Any, shown: Any) -> None:
        """It goes out under its own type, which every viewer of a notebook file shows."""
        formats, _ = shell.display_formatter.format(shown)

        assert set(formats) == {"image/png", "text/plain"}
        assert formats["image/png"] == ENCODED

    def test_the_same_data_are_not_shown_twice(self) -> None:
        """The SDK's servers send data structured and as text: one of them is enough."""
        rows = [{"a": 1}, {"a": 2}]
        once = structured(rows, '[{"a": 1}, {"a": 2}]')
        each = structured(rows, '{"a": 1}', '{"a": 2}')
        words = structured(["x", "y"], "x", "y")

        for r in (once, each, words):
            assert "<pre" not in html(r)
            assert repr(r).startswith("<ToolResult: table of 2 rows and 1 column>")

    def test_different_text_beside_data_is_shown(self) -> None:
        assert "two rows" in html(structured([1, 2], "two rows"))

    def test_an_error_says_that_it_is_one(self) -> None:
        """An error never looks like a result, not even if it is a picture."""
        for r in (result("gone", is_error=True), made_of(picture(), is_error=True)):
            assert "The tool reported an error." in html(r)
            assert repr(r).startswith("<ToolResult, an error: ")

    def test_what_is_not_shown_is_named(self) -> None:
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
        assert "No content." in html(result())
        assert repr(result()) == "<ToolResult: no content>"

    def test_data_without_text_are_shown(self) -> None:
        assert "<pre" in html(structured(5))
        assert "object with 2 members" in html(result(structured_content={"a": 1, "b": [1, "x"]}))
        assert repr(structured("words")).endswith(">\nwords")

    def test_a_resource_says_where_it_is_from(self) -> None:
        r = read(text_at("data://t", "words", "text/plain"))

        assert repr(r) == (
            "<ResourceContents of “data://one”, text/plain: text of 5 characters>\nwords"
        )
        assert "words" in html(r)

    def test_a_json_resource_is_shown_as_data(self) -> None:
        r = read(text_at("data://t", '{"a": {"b": 1}}'))

        assert "<details><summary>object with 1 member</summary>" in html(r)


class TestWhatAServerCannotDo:
    @pytest.mark.threat("markup-from-servers")
    @pytest.mark.parametrize("evil", [EVIL, HIDDEN, "$\\href{javascript:alert(1)}{x}$"])
    def test_its_words_are_only_words(self, evil: str) -> None:
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
        assert Image(encoded, "IMAGE/PNG; x=y").inline == {mime_type: encoded}

    def test_broken_bytes_of_a_resource_break_no_display(self) -> None:
        """What is no base64 is named like any file; only `.data` fails."""
        r = read(mcp.BlobResourceContents(uri="data://b", blob="no base64!"))

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
        r = structured([{f"c{i}": i for i in range(30)}] * 1_000)

        assert Page(html(r)).tags.count("tr") == 61
        assert "… 940 more rows and 10 more columns not shown" in html(r)
        assert "table of 1,000 rows and 30 columns" in repr(r)
        assert re.search(r"… 980 more rows and \d+ more columns not shown", repr(r))

    def test_text_left_out_is_counted(self) -> None:
        assert "… 980,000 more characters not shown" in html(result("x" * 10**6))
        assert "… 998,000 more characters not shown" in repr(result("x" * 10**6))
        assert "not shown" in repr(result("x\n" * 100))

    def test_data_left_out_is_mentioned(self) -> None:
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
        r = result(structured_content={"rows": [{"a": 1}], "next": "c2"})
        assert repr(r).endswith('next to the table: {"next": "c2"}')

    def test_rows_without_names_are_a_table_too(self) -> None:
        assert repr(result("[[1, 2], [3, 4]]")).splitlines()[1:] == ["0  1", "-  -", "1  2", "3  4"]
        assert repr(result("[[1], [2, 3]]")).startswith("<ToolResult: list of 2 items>")

    def test_a_table_is_never_wider_than_a_terminal(self) -> None:
        wide = structured([{f"c{i}": "x" * 60 for i in range(12)}])
        lines = repr(wide).splitlines()

        assert max(map(len, lines)) <= 100
        assert re.search(r"… \d more columns not shown", lines[-1])

    def test_a_big_table_is_cut_as_a_whole(self) -> None:
        """Many long cells do not add up to a huge notebook file."""
        r = structured([{f"c{i}": "x" * 200 for i in range(20)}] * 60)

        assert len(html(r)) < 150_000
        assert "… 45 more rows not shown" in html(r)
