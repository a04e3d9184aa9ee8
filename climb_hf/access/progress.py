"""One progress bar for a whole download: bytes, speed, time left, and how many files are done."""

import os
import threading
from typing import Any

__all__ = ["Progress"]


class Progress:
    """A bar over bytes that several threads add to.

    Sizes that are not known in advance are estimated by the mean of those seen, so that the time left means something
    for a list of 300,000 files without sizes.

    Args:
        title (`str`): text before the bar.
        enabled (`bool`, *optional*, defaults to `True`): draw it; `HF_DATASETS_DISABLE_PROGRESS_BARS` turns it off.
    """

    def __init__(self, title: str, enabled: bool = True) -> None:
        self._lock = threading.Lock()
        self._title = title
        self._bar: Any = None
        off = os.environ.get("HF_DATASETS_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
        self._enabled = enabled and not off
        self.received = 0
        self._n_files = self._n_done = self._n_unsized = 0
        self._known = self._sized = 0

    def start(self, sizes: list[int | None]) -> None:
        """Add files to what is to come; `None` is a size that is not known."""
        with self._lock:
            self._n_files += len(sizes)
            self._n_unsized += sum(size is None for size in sizes)
            self._known += sum(size or 0 for size in sizes)
            self._draw()

    def learn(self, size: int) -> None:
        """State the size of a file that was not known before."""
        with self._lock:
            self._n_unsized -= 1
            self._known += size
            self._sized += 1
            self._draw()

    def add(self, n: int) -> None:
        """Add received bytes; a negative number takes back those of a transfer that starts over."""
        with self._lock:
            self.received += n
            if self._bar is not None:
                self._bar.update(n)

    def skip(self, n: int) -> None:
        """Count bytes that are already there, which do not make the speed."""
        with self._lock:
            if self._bar is not None:
                self._bar.initial += n
                self._bar.update(n)

    def done(self, note: str = "") -> None:
        """Count a file as done."""
        with self._lock:
            self._n_done += 1
            self._draw(note)

    def note(self, text: str) -> None:
        """Show what is being done, such as unpacking."""
        with self._lock:
            self._draw(text)

    def _draw(self, note: str = "") -> None:
        if not self._enabled:
            return
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(desc=self._title, unit="B", unit_scale=True, mininterval=0.2, dynamic_ncols=True)
        bar = self._bar
        n_sized = self._n_files - self._n_unsized
        mean = self._known / n_sized if n_sized else 0.0
        total = int(self._known + mean * self._n_unsized)
        bar.total = total or None
        bar.set_postfix_str(f"{self._n_done:,}/{self._n_files:,} files{' ' + note if note else ''}", refresh=False)

    def close(self) -> None:
        """Draw the bar a last time."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
