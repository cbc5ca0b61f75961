"""People whom a recruiting service sends, with an id in the address: known again, and their ids kept nowhere.

What is kept is a token: HMAC-SHA256 of the id, with a secret of the study as its key. Who has the secret and an id
computes the token, and nobody gets from tokens to ids.
"""

import re
from pathlib import Path

from data_tools.secret import read_secret, sign

SECRET = "participant-secret"
NAMES = ("PROLIFIC_PID", "participantId", "workerId", "survey_code")  # of Prolific, CloudResearch, MTurk and SONA
_ID = re.compile(r"[\w.@+:-]{1,100}", re.ASCII)


def hash_participant(folder: Path, participant: str) -> str:
    """Compute the token by which a study knows a participant.

    Args:
        folder: folder of the study; it gets `participant-secret` when there is none.
        participant: the id that the recruiting service gave.

    Returns:
        32 hexadecimal digits, other ones in every study.

    Raises:
        ValueError: it is no id; a placeholder, say, that the service did not fill in.
        OSError: the secret cannot be read or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / SECRET).write_text("only for this example")
        ...     hash_participant(Path(folder), "5f3a1c")
        'da24ff4e82de931782d5117528e7ccf3'
    """
    if not _ID.fullmatch(participant):
        raise ValueError(
            f"got the participant's id {participant[:100]!r}; expected letters, digits and . _ - : @ +, 100 at most: "
            "does the recruiting service fill it in?"
        )
    return sign(read_secret(folder / SECRET), participant)
