"""JSON files: what is written is read back, and what is no JSON is named with what to do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamsim_metric.files.json_file import format_json, parse_json, read_json, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_is_written_is_what_python_reads(value):
    assert json.loads(format_json(value)) == value
    assert parse_json(format_json(value), "it", "") == value


def test_a_file_is_indented_ends_with_a_line_feed_and_keeps_the_order_unless_sorted(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1], "a": None})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": [\n    1\n  ],\n  "a": null\n}\n'
    write_json(tmp_path / "a.json", {"b": 1, "a": 2}, sort_keys=True)
    assert list(read_json(tmp_path / "a.json", "")) == ["a", "b"]


DAMAGED = {
    "cut": (b'{"a": ', "is not JSON .*; copy it again"),
    "empty": (b"", "is not JSON"),
    "another encoding": (b"\xff\xfe\xfa", "is not JSON"),
    "a list": (b"[1]", "is not a JSON object .it is a list.; copy it again"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path}/a.json {message}"):
        read_json(tmp_path / "a.json", "copy it again")
