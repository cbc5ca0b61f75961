"""How many pixels are decoded at once, by all threads together: a few large pictures fill a machine's memory."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 192_000_000
"""Pixels in flight: sixteen photographs of 12 megapixels, in some 2 GB."""


class Budget:
    """A number of pixels that threads share. A picture that has more than all of it goes alone.

    Args:
        most: the number.

    Example:
        >>> budget = Budget(100)
        >>> with budget.hold(60), budget.hold(40):
        ...     budget.free
        0
        >>> with budget.hold(1000):
        ...     budget.free
        0
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.refill()

    def refill(self) -> None:
        """Begin anew, as in a process that was forked, whose other threads are gone."""
        self.free, self._changed = self.most, threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Take so many pixels, once there are as many, and give them back."""
        pixels = min(pixels, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self.free >= pixels)
            self.free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self.free += pixels
                self._changed.notify_all()


IN_FLIGHT = Budget()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=IN_FLIGHT.refill)
