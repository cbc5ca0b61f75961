"""What tests do to folders in the format of the released DreamSim checkpoints (`benchmarks.speed.releases`)."""

import json
import zipfile
from pathlib import Path

from dreamsim_metric.weights.dreamsim import find_adapter_folder


def zip_release(folder: Path, archive: Path) -> Path:
    """The archive as released: everything but what torch.hub fetched."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and not name.startswith(("checkpoints/", "facebookresearch_")):
                out.write(file, name)
    return archive


def edit_config(folder: Path, name: str, **changes: object) -> None:
    path = folder / find_adapter_folder(name) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
