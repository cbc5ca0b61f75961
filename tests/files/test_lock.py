import subprocess
import sys
from pathlib import Path

import pytest

from dreamsim_metric.files.lock import lock_folder

OTHER = """
import sys
from pathlib import Path
from dreamsim_metric.files.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print('in')
"""


def enter(folder):
    return subprocess.run([sys.executable, "-c", OTHER, str(folder)], capture_output=True, text=True)


def test_a_second_process_is_told_that_the_folder_is_taken(tmp_path):
    with lock_folder(tmp_path / "run"):
        other = enter(tmp_path / "run")
        assert other.returncode == 1
        assert f"another process is at work in {tmp_path / 'run'}: let it end" in other.stderr
        (tmp_path / "run" / "settings.json").touch()
    assert enter(tmp_path / "run").stdout == "in\n"


def test_a_killed_process_holds_nothing_and_its_parts_are_removed(tmp_path):
    killed = (
        "import os, time; (Path(sys.argv[1]) / '.a.npy.0011.part').touch(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER.replace("print('in')", killed), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    assert (tmp_path / ".a.npy.0011.part").exists()
    with lock_folder(tmp_path):
        assert not (tmp_path / ".a.npy.0011.part").exists()


def test_a_folder_into_which_nothing_was_put_is_not_left_behind(tmp_path):
    with pytest.raises(ValueError, match="no"), lock_folder(tmp_path / "a" / "run"):
        raise ValueError("no")
    assert not (tmp_path / "a" / "run").exists()
    with lock_folder(tmp_path / "run"):
        (tmp_path / "run" / "one").touch()
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [".lock", "one"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError, match="a is a file; choose another folder"), lock_folder(tmp_path / "a"):
        pass


def test_a_store_is_not_locked():
    from upath import UPath

    with lock_folder(UPath("memory://nowhere/run")):
        assert not Path("memory:").exists()
