"""Files and folders are written whole or not at all, whatever happens meanwhile."""

import errno
import os
import re
import stat

import pytest

from dreamsim_metric.files.write import create_file, create_folder, write_file, write_files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill_file(path, fault):
    with create_file(path) as file:
        file.write(b"half")
        fault()


def fill_folder(path, fault):
    with create_folder(path) as beside:
        (beside / "half").write_bytes(b"half")
        fault()


def full_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAULTS = {
    "a full disk": (full_disk, OSError, r"cannot write .*out \(No space left on device\).*intact: make room"),
    "another error": (lambda: {}["key"], KeyError, "key"),
    "a key pressed": (lambda: exec("raise KeyboardInterrupt('stop')"), KeyboardInterrupt, "stop"),
    "an error that says more": (
        lambda: exec("raise OSError(28, 'the store is full')"),
        OSError,
        r"^\[Errno 28\] the store is full$",
    ),
    "a picture missing": (lambda: open("gone.png"), FileNotFoundError, "gone.png"),  # noqa: SIM115
}


@pytest.mark.parametrize(("fault", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_a_new_file_or_folder_that_fails_leaves_what_was_there(tmp_path, fault, kind, message):
    (tmp_path / "file.out").write_bytes(b"before")
    with pytest.raises(kind, match=message):
        fill_file(tmp_path / "file.out", fault)
    with pytest.raises(kind, match=message):
        fill_folder(tmp_path / "deep" / "folder.out", fault)
    assert names(tmp_path) == ["deep", "file.out"]
    assert names(tmp_path / "deep") == []
    assert (tmp_path / "file.out").read_bytes() == b"before"


def test_a_new_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with create_file(path) as file:
        file.write(b"af")
        assert path.read_bytes() == b"before"
        file.write(b"ter")
    assert path.read_bytes() == b"after"
    assert names(tmp_path) == ["file"]


def test_a_new_folder_gets_its_name_when_it_is_whole_and_all_may_read_it(tmp_path):
    folder = tmp_path / "deep" / "folder"
    with create_folder(folder) as beside:
        (beside / "inside").write_bytes(b"x")
        assert not folder.exists()
        assert beside.parent == folder.parent  # of one disk, so that it can be renamed
        assert beside.name.startswith(".")
    assert names(folder) == ["inside"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert names(folder.parent) == ["folder"]


def test_two_may_make_one_folder_and_the_later_is_refused(tmp_path):
    with pytest.raises(OSError, match="not empty"):
        fill_folder(tmp_path / "folder", lambda: fill_folder(tmp_path / "folder", lambda: None))
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["half"]


def test_of_several_files_none_is_replaced_unless_all_are_written(tmp_path):
    write_files({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    with pytest.raises(OSError, match=r"cannot write .*gone/c .No such file or directory.*intact"):
        write_files({tmp_path / "a": b"3", tmp_path / "gone" / "c": b"4"})
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"1"
    write_file(tmp_path / "a", b"5")
    assert (tmp_path / "a").read_bytes() == b"5"


def test_bytes_reach_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_size, names(tmp_path))))
    write_file(tmp_path / "a", b"12")
    with create_file(tmp_path / "b") as file:
        file.write(b"123")
    (first, before), (second, after) = synced
    assert (first, second) == (2, 3)
    assert re.fullmatch(r"\.a\.[0-9a-f]{16}\.part", before[0])
    assert re.fullmatch(r"\.b\.[0-9a-f]{16}\.part", after[0])
    assert (before[1:], after[1:]) == ([], ["a"])


def test_a_link_that_lies_where_a_part_would_be_written_is_not_followed(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    monkeypatch.setattr("secrets.token_hex", lambda count: "guessed")
    link = tmp_path / ".a.guessed.part"
    link.symlink_to(target)
    with pytest.raises(FileExistsError, match="cannot write"):
        write_file(tmp_path / "a", b"12")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    with pytest.raises(FileExistsError), create_file(tmp_path / "a"):
        pass
    assert target.read_bytes() == b"mine"


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    with create_file(tmp_path / "a") as one, create_file(tmp_path / "a") as other:
        one.write(b"1")
        other.write(b"2")
        one.write(b"1")
    assert (tmp_path / "a").read_bytes() == b"11"
    assert names(tmp_path) == ["a"]
