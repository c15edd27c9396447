"""What a call's result gives to a person's code: data, text, tables, pictures, errors."""

from __future__ import annotations

import base64
import builtins
import contextlib
import sys
from typing import Any

import mcp_types as mcp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpnb.calls.results import Image, ResourceContents, ToolResult, tool_error
from mcpnb.errors import CallError, ToolError

# How long an example takes says something about the machine, and nothing about these rules.
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def made_of(*content: mcp.ContentBlock, **fields: Any) -> ToolResult:
    return ToolResult(mcp.CallToolResult(content=list(content), **fields))


def result(*texts: str, **fields: Any) -> ToolResult:
    return made_of(*(mcp.TextContent(text=text) for text in texts), **fields)


def read(*contents: mcp.TextResourceContents | mcp.BlobResourceContents) -> ResourceContents:
    # A cache hint is a field of every result of 2026-07-28; readers of a resource see none of it.
    raw = mcp.ReadResourceResult(contents=list(contents), ttl_ms=0, cache_scope="private")
    return ResourceContents(raw, "data://one")


class TestData:
    def test_structured_content_comes_before_text(self) -> None:
        """Where a server sends both, `data` is the structured one."""
        r = result('{"a": 1}', structured_content={"a": 2, "b": 3})

        assert r.data == {"a": 2, "b": 3}

    @pytest.mark.parametrize("value", [[1, 2], "x", 3, {"deep": 1}, None])
    def test_the_sdks_wrapping_is_taken_off(self, value: object) -> None:
        """What is no object arrives as ``{"result": value}``, and is given as `value`."""
        r = result(structured_content={"result": value})

        assert r.data == value

    def test_an_object_with_more_than_a_result_stays_whole(self) -> None:
        """``result`` beside other members is a member like any other."""
        r = result(structured_content={"result": 1, "next": 2})

        assert r.data == {"result": 1, "next": 2}

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

    def test_no_content_has_no_data(self) -> None:
        """An empty result is `None`, and its text is empty."""
        r = result()

        assert (r.data, r.text) == (None, "")

    def test_text_joins_all_text_parts_and_resource_texts(self) -> None:
        """`text` has every text that came, in order, links and pictures left out."""
        resource = mcp.TextResourceContents(uri="data://x", text="two")
        link = mcp.ResourceLink(name="report", uri="data://report")
        r = made_of(
            mcp.TextContent(text="one"),
            mcp.EmbeddedResource(resource=resource),
            mcp.ImageContent(data="", mime_type="image/png"),
            link,
            mcp.TextContent(text="three"),
        )

        assert r.text == "one\ntwo\nthree"

    def test_raw_is_the_sdks_own_result(self) -> None:
        """Nothing is lost: `raw` is the very object the SDK gave."""
        raw = mcp.CallToolResult(content=[], is_error=True)
        r = ToolResult(raw)

        assert r.raw is raw
        assert r.is_error

    @pytest.mark.slow
    @any_speed
    @given(st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=20))
    def test_any_json_value_comes_back(self, value: object) -> None:
        """Whatever a server wraps is what `data` gives."""
        assert result(structured_content={"result": value}).data == value


class TestDataFrames:
    @pytest.mark.parametrize(
        ("data", "columns", "rows"),
        [
            ([{"a": 1, "b": "x"}, {"a": 2, "c": None}], ["a", "b", "c"], 2),
            ({"a": [1, 2, 3], "b": ["x", "y", "z"]}, ["a", "b"], 3),
            ({"rows": [{"a": 1}], "total": 9}, ["a"], 1),
            ({"rows": [{"a": 1}], "columns": ["a"]}, ["a"], 1),
            ({"users": [{"name": "n"}, {"name": "m"}]}, ["name"], 2),
            ({"users": [{"name": "n"}], "page": 1}, ["name"], 1),
            ({"items": [], "next": None}, [], 0),
            ({"items": []}, [], 0),
            ({"columns": ["x", "y"], "data": [[1, 2], [3, 4], [5, 6]]}, ["x", "y"], 3),
            ({"columns": ["x", "y"], "data": [[1, 2], [3, 4]], "index": [0, 1]}, ["x", "y"], 2),
            ([1, 2, 3], ["value"], 3),
            (["a", None], ["value"], 2),
            ([[1, 2], [3, 4]], [0, 1], 2),
            ([], [], 0),
        ],
    )
    def test_what_looks_like_a_table_is_one(
        self, data: object, columns: list[object], rows: int
    ) -> None:
        """Records, columns, wrapped records, pandas' split form and lists of values."""
        frame = result(structured_content={"result": data}).df()

        assert list(frame.columns) == columns
        assert len(frame) == rows

    def test_numbers_stay_numbers(self) -> None:
        """A missing number does not turn its column into objects."""
        frame = result('[{"n": 1.5}, {}]').df()

        assert frame["n"].dtype.kind == "f"

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            ({"name": "x", "age": 3}, "a single object"),
            ("a,b\n1,2", "read_csv"),
            (5, "a single value"),
            (None, "no data"),
            ([{"a": 1}, 2], "different kinds"),
            ([[1], [2, 3]], "unequal length"),
            ({"x": [{"a": 1}], "y": [{"b": 1}, {"b": 2}]}, "2 tables"),
            ({"columns": ["x", "x", "y"], "data": [[1, 2, 3]]}, "a single object"),
            ({}, "a single object"),
        ],
    )
    def test_what_is_no_table_says_what_it_is(self, data: object, says: str) -> None:
        """The error names what came and what to do with it."""
        r = result(structured_content={"result": data})
        with pytest.raises(CallError, match=says):
            r.df()

    def test_records_with_nothing_in_common_do_not_fill_the_memory(self) -> None:
        """A small answer cannot make a table of its square."""
        r = result(structured_content={"result": [{f"k{i}": i} for i in range(20_000)]})

        with pytest.raises(
            CallError, match="20,000 rows and 20,000 columns, nearly all of it empty"
        ):
            r.df()

    @pytest.mark.slow
    def test_a_big_full_table_is_made(self) -> None:
        """Size alone is no reason to refuse."""
        r = result(structured_content={"result": [dict.fromkeys(map(str, range(200)), 1)] * 50_001})

        assert r.df().shape == (50_001, 200)

    def test_bytes_are_no_table(self) -> None:
        """A binary resource says so."""
        with pytest.raises(CallError, match="it is bytes"):
            read(mcp.BlobResourceContents(uri="data://b", blob="aGk=")).df()

    @pytest.mark.slow
    @any_speed
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["rows", "data", "columns", "a", "b"]), inner)
            ),
            max_leaves=12,
        )
    )
    def test_it_is_a_table_or_an_error_of_ours(self, data: Any) -> None:
        """No data make pandas raise its own errors."""
        with contextlib.suppress(CallError):
            assert result(structured_content={"result": data}).df() is not None

    def test_a_csv_resource_is_a_table(self) -> None:
        """`read(uri).df()` reads CSV where the server calls it that."""
        r = read(mcp.TextResourceContents(uri="data://x", mime_type="text/csv", text="a,b\n1,2\n"))

        assert r.df().to_dict("records") == [{"a": 1, "b": 2}]

    def test_broken_csv_is_our_error(self) -> None:
        """What pandas cannot read is a `CallError`, not pandas' own."""
        r = read(mcp.TextResourceContents(uri="data://x", mime_type="text/csv", text=""))
        with pytest.raises(CallError, match="as CSV"):
            r.df()

    def test_without_pandas_it_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A missing pandas is one line with the command, and only `df` needs it."""
        monkeypatch.setitem(sys.modules, "pandas", None)
        r = result('[{"a": 1}]')

        assert r.data == [{"a": 1}]
        with pytest.raises(CallError, match="pip install pandas"):
            r.df()

    def test_pandas_is_imported_only_when_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Making and showing a result imports no pandas; `df` does."""
        asked: list[str] = []
        really = builtins.__import__

        def recorded(name: str, *args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return really(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", recorded)
        r = result('[{"a": 1}]')
        r._repr_mimebundle_()

        assert "pandas" not in asked
        r.df()
        assert "pandas" in asked


class TestImages:
    def test_pictures_come_as_bytes_with_their_type(self) -> None:
        """Image parts and image resources are both pictures, in order."""
        encoded = base64.b64encode(PNG).decode()
        blob = mcp.BlobResourceContents(uri="data://p", mime_type="image/gif", blob="R0lGODlh")
        images = made_of(
            mcp.ImageContent(data=encoded, mime_type="image/png"),
            mcp.EmbeddedResource(resource=blob),
        ).images

        assert [(i.data, i.mime_type) for i in images] == [
            (PNG, "image/png"),
            (b"GIF89a", "image/gif"),
        ]

    @pytest.mark.parametrize("data", [b"", b"\xff\xfe\xfd" * 20, PNG])
    def test_base64_is_read_in_every_dialect(self, data: bytes) -> None:
        """Line ends, the URL-safe alphabet and missing padding are all understood."""
        wrapped = base64.encodebytes(data).decode()
        url_safe = base64.urlsafe_b64encode(data).decode().rstrip("=")

        assert Image(wrapped, "image/png").data == data
        assert Image(url_safe, "image/png").data == data

    def test_a_broken_picture_hides_no_other(self) -> None:
        """Only asking for the broken one's bytes fails, with an error of ours."""
        broken, good = made_of(
            mcp.ImageContent(data="no base64!", mime_type="image/png"),
            mcp.ImageContent(data="R0lGODlh", mime_type="image/gif"),
        ).images

        assert good.data == b"GIF89a"
        with pytest.raises(CallError, match="not base64"):
            broken.data  # noqa: B018 - reading it is what fails

    def test_save_writes_the_bytes(self, tmp_path: Any) -> None:
        """`save` writes what came and gives the path."""
        path = Image(base64.b64encode(PNG).decode(), "image/png").save(tmp_path / "p.png")

        assert path.read_bytes() == PNG


class TestResources:
    def test_json_text_and_bytes_are_read_as_such(self) -> None:
        """`data` is parsed JSON, text, or bytes; several contents are a list."""
        json = mcp.TextResourceContents(uri="data://j", mime_type="application/json", text="[1]")
        text = mcp.TextResourceContents(uri="data://t", text="words")
        blob = mcp.BlobResourceContents(uri="data://b", blob="aGk=")

        assert read(json).data == [1]
        assert read(text).data == "words"
        assert read(blob).data == b"hi"
        assert read(json, text, blob).data == [[1], "words", b"hi"]
        assert read().data is None

    def test_it_knows_where_it_is_from_and_what_it_is(self) -> None:
        """`uri`, `mime_type`, `text` and `raw` are there to use."""
        r = read(mcp.TextResourceContents(uri="data://t", mime_type="text/plain", text="words"))

        assert (r.uri, r.mime_type, r.text) == ("data://one", "text/plain", "words")
        assert r.raw.contents[0].uri == "data://t"

    def test_an_image_resource_is_a_picture(self) -> None:
        """A resource of an image type is shown and saved like any picture."""
        encoded = base64.b64encode(PNG).decode()
        r = read(mcp.BlobResourceContents(uri="data://p", mime_type="image/png", blob=encoded))

        assert r.images[0].data == PNG
        assert r._repr_mimebundle_()["image/png"] == encoded


class TestToolErrors:
    def test_it_quotes_what_the_tool_said(self) -> None:
        """The message holds the tool's words on one line; the result is attached."""
        r = result("No such\x1b[31m file.\nTry another.", is_error=True)
        error = tool_error("open", r)

        assert isinstance(error, ToolError)
        assert error.result is r
        assert str(error) == (
            "The tool “open” reported an error: “No such [31m file. Try another.”"
        )

    def test_it_quotes_structured_content_where_there_is_no_text(self) -> None:
        """An error that is only data is quoted as JSON."""
        error = tool_error("open", result(structured_content={"why": "gone"}, is_error=True))

        assert '{"why": "gone"}' in str(error)

    def test_it_says_so_when_the_tool_said_nothing(self) -> None:
        """No empty quotes."""
        assert str(tool_error("open", result(is_error=True))).endswith("did not say why.")

    def test_it_is_capped(self) -> None:
        """A long complaint does not fill the page."""
        assert len(str(tool_error("o" * 500, result("x" * 10**6, is_error=True)))) < 1_300
