"""The record of a generation, as somebody else may have written it."""

import json

import pytest

from data_tools.manifest import read_rows


def test_a_broken_line_is_named_by_its_number(tmp_path):
    sound = json.dumps({"path": "0.png"})
    for line, message in {
        "{": "is not JSON",
        "null": "is not a JSON object",
        "\xff": "is not JSON",
        "[" * 200_000: "is not JSON",
        "{}": "lacks path",
        '{"path": 5}': "names 5, which is not in that folder",
        '{"path": "/etc/hostname"}': "names '/etc/hostname', which is not in that folder",
        '{"path": "a/../../b.png"}': "which is not in that folder",
        '{"path": "link.png"}': "which is not in that folder",
    }.items():
        (tmp_path / "link.png").unlink(missing_ok=True)
        (tmp_path / "link.png").symlink_to("/etc/hostname")
        (tmp_path / "manifest.jsonl").write_bytes(f"{sound}\n{line}\n{sound}\n".encode("latin-1"))
        with pytest.raises(
            ValueError, match=rf"manifest\.jsonl line 2 {message}" if "which" not in message[:6] else message
        ):
            read_rows(tmp_path, columns=["path"])
