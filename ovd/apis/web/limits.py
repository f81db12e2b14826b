"""What a page takes from its visitors, and what it says to the rest."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, List

from PIL import Image

from ovd.apis.class_names import split_class_names
from ovd.apis.image_sources import MAX_ASPECT_RATIO, SourceImage
from ovd.apis.open_vocabulary_detector import OpenVocabularyDetector

MAX_LETTERS = 200  # of a name; CLIP reads 77 tokens


@dataclass(frozen=True)
class Limits:
    """What a page takes.

    Args:
        max_names (int): Most names at once. Defaults to 2,000.
        max_megabytes (float): Largest file. Defaults to 20.
        max_megapixels (float): Largest image, in millions of pixels: a small
            file may hold a huge one. Defaults to 25.

    Raises:
        ValueError: If one is not positive.
    """

    max_names: int = 2000
    max_megabytes: float = 20.0
    max_megapixels: float = 25.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(
                    f'--{name.replace("_", "-")} must be positive, got {value}'
                )

    @property
    def max_bytes(self) -> int:
        """The largest file in bytes."""
        return int(self.max_megabytes * 1e6)

    def split_names(self, text: Any) -> List[str]:
        """Return the names in a text, commas or new lines between, each once.

        Raises:
            ValueError: If there are none, or too many, or one is too long.
        """
        lines = text.splitlines() if isinstance(text, str) else []
        names = list(dict.fromkeys(split_class_names(','.join(lines))))
        if not names:
            raise ValueError(
                'Type at least one name, such as: red circle, '
                'striped blue star'
            )
        if len(names) > self.max_names:
            raise ValueError(
                f'These are {len(names):,} names; this page takes at most '
                f'{self.max_names:,} at once (its option --max-names).'
            )
        longest = max(names, key=len)
        if len(longest) > MAX_LETTERS:
            raise ValueError(
                f'A name may have {MAX_LETTERS} letters; one has '
                f'{len(longest):,}: {longest[:40]}\u2026 Is there a comma '
                'between the names?'
            )
        return names

    def read_image(
        self, detector: OpenVocabularyDetector, path: str, name: str
    ) -> SourceImage:
        """Read a file that a visitor gave.

        Args:
            detector (OpenVocabularyDetector): Reads it.
            path (str): Where it is.
            name (str): What the visitor calls it.

        Raises:
            ValueError: If it is damaged, no image, too large or too thin.
        """
        if not Path(path).is_file():
            raise ValueError('The image is no longer here: give it again.')
        self._check_size(path, name)
        try:
            image = detector.read(path)
        except (ValueError, OSError) as error:  # they name our own path
            raise ValueError(f'{name} is damaged or no image.') from error
        return replace(image, path=name)

    def _check_size(self, path: str, name: str) -> None:
        """Look at the head of a file alone.

        Raises:
            ValueError: If it has too many bytes or pixels, is too thin, or no
                image.
        """
        size = Path(path).stat().st_size
        if size > self.max_bytes:
            raise ValueError(
                f'{name} has {size / 1e6:.1f} MB; this page takes at most '
                f'{self.max_megabytes:g} (its option --max-megabytes).'
            )
        try:
            with Image.open(path) as head:
                width, height = head.size
        except Image.DecompressionBombError as error:
            raise ValueError(
                f'{name} has far more than the {self.max_megapixels:g} '
                'million pixels that this page takes.'
            ) from error
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's
            raise ValueError(f'{name} is damaged or no image.') from error
        millions = width * height / 1e6
        if millions > self.max_megapixels:
            raise ValueError(
                f'{name} has {millions:.1f} million pixels; this page takes '
                f'at most {self.max_megapixels:g} (its option '
                '--max-megapixels). A smaller copy shows the detector no '
                'less.'
            )
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise ValueError(
                f'{name} has {width:,} \u00d7 {height:,} pixels: more than '
                f'{MAX_ASPECT_RATIO} times as long as wide is too thin for '
                'the network.'
            )
