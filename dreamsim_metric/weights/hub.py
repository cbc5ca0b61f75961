"""The Hugging Face hub: models got and given."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dreamsim_metric.card import ModelCard
from dreamsim_metric.weights.folder import ADAPTER, ADAPTER_CONFIG, CARD, HEAD, WEIGHTS, write_folder
from dreamsim_metric.weights.readme import write_readme

if TYPE_CHECKING:
    from torch import Tensor


def load_from_hub(name: str) -> Path:
    """Get the folder of a model on the hub, downloaded or in the hub's own cache.

    Args:
        name: `OWNER/REPO`, with `@REVISION` where not the newest is wanted.

    Raises:
        ConnectionError: it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    files = [CARD, WEIGHTS, ADAPTER, ADAPTER_CONFIG, HEAD]
    try:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=files, library_name="dreamsim_metric"
            )
        )
    except HFValidationError as error:
        raise ValueError(f"got hf:{name}; expected hf:OWNER/REPO ({error})") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        raise ConnectionError(f"cannot get {repository} from the Hugging Face hub ({error})") from error


def push(card: ModelCard, state: dict[str, "Tensor"], repository: str, private: bool, token: str | None) -> str:
    """Upload a model; see `PerceptualMetric.push_to_hub`."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    api = HfApi(token=token, library_name="dreamsim_metric")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        write_folder(folder, card, state, write_readme(card, f"hf:{repository}"))
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=card.name))
        except HFValidationError as error:
            raise ValueError(f"got repository {repository!r}; expected OWNER/REPO ({error})") from error
        except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
            raise ConnectionError(
                f"cannot upload to {repository} ({error}); is the network up, and are you logged in (hf auth login)?"
            ) from error
