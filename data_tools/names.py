"""Names of questions, pictures and raters: they tell nothing to who does not have the study's secret."""

import functools
import hmac

from data_tools.secret import sign

_INVITATION = "inv."
_ID = 32  # characters of a rater's id


class Names:
    """The names of one study.

    Attributes:
        simulation: proof that a rater is `dreamsim-data simulate`, run by the study's owner.
    """

    def __init__(self, secret: str) -> None:
        """Take the study's secret (`study-secret` in its folder).

        Args:
            secret: the secret, see `secret.read_secret`.
        """
        self._secret, self.simulation = secret, sign(secret, "simulation")
        self.item = functools.cache(self._item)
        self.picture = functools.cache(self._picture)

    def token(self, rater: str) -> str:
        """Make the token with which a rater is let in, from the id under which they are stored and exported."""
        return rater + sign(self._secret, f"rater {rater}")

    def rater(self, token: str) -> str | None:
        """Return the id of the rater whose token it is, if it is anybody's."""
        known = token[:_ID]
        return known if hmac.compare_digest(self.token(known).encode(), token.encode()) else None

    def invitation(self, number: str) -> str:
        """Make an invitation: whoever has it can be one rater.

        Args:
            number: random text, letters and digits, other than those of all invitations before.
        """
        return f"{_INVITATION}{number}.{sign(self._secret, f'invitation {number}')}"

    def is_invitation(self, text: str) -> bool:
        """Tell whether somebody who has the study's secret made an invitation.

        Raises:
            ValueError: it looks like one, and is none.
        """
        if not text.startswith(_INVITATION):
            return False
        number = text.removeprefix(_INVITATION).partition(".")[0]
        if hmac.compare_digest(self.invitation(number).encode(), text.encode()):
            return True
        raise ValueError("this invitation is not one of this study: use the link as it was sent")

    def number(self, text: str, salt: int) -> int:
        """Draw a number from 0 to 2³² − 1, the same one every time, which raters cannot know."""
        return int(sign(self._secret, f"number {salt} {text}")[:8], 16)

    def _item(self, item: str) -> str:
        return sign(self._secret, f"item {item}")

    def _picture(self, item: str, place: int) -> str:
        """A picture that stands twice on a screen, or in two questions, has a name at each place."""
        return sign(self._secret, f"picture {place} {item}")
