"""One place in the data tree, and the tree of one dataset."""

from dataclasses import dataclass, replace
from typing import Optional


@dataclass(frozen=True)
class Entry:
    """A file or folder that has its place.

    Args:
        path (str): From the folder that holds `data/` and `pretrained/`;
            `<clip>` in it stands for any name.
        kind (str): How to look into it, a key of
            :data:`ovd.apis.inspect_data.INSPECTORS`.
        origin (str): The command that makes it, or where to get it.
        images (int, optional): How many it has when it is complete.
        annotations (int, optional): The same.
        note (str): What else there is to say of it.
        required (bool): Everything else of the dataset rests on it.
        folder (str): Where an annotation file has its images, from the
            dataset's folder; '' goes by their `coco_url`, as in LVIS.
    """

    path: str
    kind: str
    origin: str
    images: Optional[int] = None
    annotations: Optional[int] = None
    note: str = ''
    required: bool = False
    folder: str = ''

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder when it is there."""
        return self.kind in ('images', 'folder', 'store')

    @property
    def makeable(self) -> bool:
        """Whether `origin` is a command."""
        return self.origin.startswith(('python ', 'sh ', 'mkdir '))

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        counts = [(self.images, 'images'), (self.annotations, 'annotations')]
        words = [f'{count:,} {what}' for count, what in counts if count]
        return ', '.join(words + [self.note] * bool(self.note))


@dataclass(frozen=True)
class Tree:
    """A dataset, or the weights: where it is and what belongs to it.

    Args:
        root (str): Its folder, from the one that holds `data/`.
        source (str): Where it comes from.
        entries (Sequence[Entry]): Their paths are from `root`.
    """

    root: str
    source: str
    entries: tuple

    def all_entries(self) -> list[Entry]:
        """Return the entries, their paths from the folder of `data/`."""
        return [
            replace(entry, path=f'{self.root}/{entry.path}')
            for entry in self.entries
        ]
