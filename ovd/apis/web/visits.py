"""What a page keeps of each visitor, who share one detector."""

import shutil
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from ovd.apis.open_vocabulary_detector import OpenVocabularyDetector

from .finding import Finding
from .limits import Limits

MOST_VISITORS = 32  # of whom anything is kept; others are looked up anew
Key = Tuple[str, Tuple[str, ...]]


@dataclass
class Visit:
    """The last that was found for a visitor.

    Args:
        folder (Path): For the file that he may download.
        key (Key, optional): Image and names.
        finding (Finding, optional): What is in it.
    """

    folder: Path
    key: Optional[Key] = None
    finding: Optional[Finding] = None


class Visits:
    """Finds what visitors ask for; a moved threshold needs no detector.

    Args:
        detector (OpenVocabularyDetector): All visitors use it, one at a time.
        limits (Limits): What it may be given.
    """

    def __init__(
        self, detector: OpenVocabularyDetector, limits: Limits
    ) -> None:
        self.detector = detector
        self.limits = limits
        self._visits: 'OrderedDict[str, Visit]' = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    def __contains__(self, visitor: str) -> bool:
        return visitor in self._visits

    def folders(self) -> List[Path]:
        """Return where the files of the visitors are."""
        return [visit.folder for visit in self._visits.values()]

    def find(
        self, visitor: str, path: str, name: str, names: List[str]
    ) -> Tuple[Finding, Path]:
        """Return what is in an image, and the folder for its file.

        Args:
            visitor (str): Whose visit it is.
            path (str): File of the image; another image has another one.
            name (str): What the visitor calls it.
            names (list[str]): What to look for.

        Raises:
            FileNotFoundError: If a file of the detector is missing.
            ValueError: If the image can't be read, or a name not be used.
        """
        visit, key = self._of(visitor), (path, tuple(names))
        finding = visit.finding if visit.key == key else None
        if finding is None:
            image = self.limits.read_image(self.detector, path, name)
            finding = Finding.of(
                image, self.detector.predict(image, classes=names)
            )
            visit.key, visit.finding = key, finding
        return finding, visit.folder

    def forget(self, visitor: str) -> None:
        """Free what is kept of a visitor."""
        with self._lock:
            visit = self._visits.pop(visitor, None)
        if visit is not None:
            shutil.rmtree(visit.folder, ignore_errors=True)

    def close(self) -> None:
        """Free what is kept of all visitors."""
        for visitor in [*self._visits]:
            self.forget(visitor)

    def _of(self, visitor: str) -> Visit:
        """Return the visit of a visitor, who is now the latest."""
        with self._lock:
            if visitor not in self._visits:
                self._visits[visitor] = Visit(
                    Path(tempfile.mkdtemp(prefix='ovd-visit-'))
                )
            self._visits.move_to_end(visitor)
            visit, oldest = self._visits[visitor], next(iter(self._visits))
            too_many = len(self._visits) > MOST_VISITORS
        if too_many:
            self.forget(oldest)
        return visit
