"""Proposals: boxes and objectness of images, found by file name.

A ``.safetensors`` holds flat arrays. Shapes: N images, P proposals of one.

* ``bboxes`` (sum of P, 4) float32, xyxy in pixels of the original image;
* ``scores`` (sum of P,) float32;
* ``offsets`` (N + 1,) int64: image i has rows offsets[i] to offsets[i + 1];
* ``keys`` uint8: the N names "<folder>/<file>" in UTF-8, joined by newlines;

and its header says what made it. A ``.pkl`` holds the plain dict that mmdet's
own ``load_proposals`` reads, followed by a second pickle with what made it,
which mmdet doesn't look at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Optional, Sequence, Tuple

import numpy as np

from .files import PathLike, atomic_write, require_file
from .proposal_pickle import (
    Entry,
    check_entry,
    check_provenance,
    read_pickle,
    write_pickle,
)
from .tensor_file import TensorFile, write_tensors

FORMAT = 'ovd.proposals.v1'
BLOCK = 1 << 20  # boxes that are checked at a time


def image_key(path: PathLike) -> str:
    """Return ``'<folder>/<file>'``, the name proposals are found by."""
    return '/'.join(Path(path).parts[-2:])


class Proposals(Mapping):
    """Proposals of N images: a read-only mapping from name to boxes.

    ``proposals['train/000001.png']`` is ``{'bboxes': (P, 4) float32 xyxy in
    pixels of the original image, 'scores': (P,) float32}``.

    Args:
        keys (Sequence[str]): N names.
        bboxes (ndarray): (sum of P, 4) float32.
        scores (ndarray): (sum of P,) float32.
        offsets (ndarray): (N + 1,) int64.
        provenance (dict): What made them.
        source (str): File name for messages.

    Raises:
        ValueError: If the arrays do not belong together, a number is not
            finite, or a box ends before it begins.
    """

    def __init__(
        self,
        keys: Sequence[str],
        bboxes: np.ndarray,
        scores: np.ndarray,
        offsets: np.ndarray,
        provenance: Optional[Dict[str, Any]] = None,
        source: str = 'proposals',
    ) -> None:
        self.provenance = dict(provenance or {})
        self.source = source
        # Pickles of a subclass such as numpy.memmap would ask for it.
        self._bboxes, self._scores, self._offsets = map(
            np.asarray, (bboxes, scores, offsets)
        )
        self._index = {key: i for i, key in enumerate(keys)}
        if len(self._index) != len(keys):
            raise ValueError(f'{source} names an image twice')
        self._check(len(keys))

    @classmethod
    def pack(
        cls,
        entries: Dict[str, Entry],
        provenance: Optional[Dict[str, Any]] = None,
        source: str = 'proposals',
    ) -> 'Proposals':
        """Lay entries end to end.

        Args:
            entries (dict): Name -> entry; each is let go once it is copied,
                so that the dict is empty in the end.
            provenance (dict, optional): What made them.
            source (str): File name for messages.

        Raises:
            ValueError: If an entry is malformed, with its name.
        """
        keys = list(entries)
        counts = [check_entry(key, entries[key], source) for key in keys]
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        bboxes = np.empty((offsets[-1], 4), np.float32)
        scores = np.empty(offsets[-1], np.float32)
        # What is beyond float32 becomes infinite, and is refused as such.
        with np.errstate(over='ignore'):
            for key, start, stop in zip(keys, offsets[:-1], offsets[1:]):
                entry = entries.pop(key)
                bboxes[start:stop] = entry['bboxes']
                scores[start:stop] = entry['scores']
        return cls(keys, bboxes, scores, offsets, provenance, source)

    def _check(self, num_images: int) -> None:
        """Check shapes and dtypes, then values."""
        total = int(self._offsets[-1]) if len(self._offsets) else -1
        for name, array, shape, dtype in (
            ('offsets', self._offsets, (num_images + 1,), np.int64),
            ('bboxes', self._bboxes, (total, 4), np.float32),
            ('scores', self._scores, (total,), np.float32),
        ):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f'{self.source}: {name} must be {shape} '
                    f'{np.dtype(dtype).name}, got {array.shape} '
                    f'{array.dtype.name}'
                )
        if self._offsets[0] != 0 or (np.diff(self._offsets) < 0).any():
            raise ValueError(f'{self.source}: offsets do not ascend from 0')
        for start in range(0, total, BLOCK):
            bboxes = self._bboxes[start : start + BLOCK]
            finite = np.isfinite(bboxes).all(1) & np.isfinite(
                self._scores[start : start + BLOCK]
            )
            self._refuse(~finite, start, 'a box or score that is not finite')
            self._refuse(
                np.any(bboxes[:, 2:] < bboxes[:, :2], 1),
                start,
                'a box that is not (x1, y1, x2, y2)',
            )

    def _refuse(self, bad: np.ndarray, start: int, what: str) -> None:
        """Raise with the first box that is marked, from ``start`` on."""
        if not bad.any():
            return
        row = start + int(bad.argmax())
        image = int(np.searchsorted(self._offsets, row, side='right')) - 1
        raise ValueError(
            f'{self.source}: {list(self._index)[image]} has {what}: '
            f'{self._bboxes[row].tolist()}, score {float(self._scores[row])}'
        )

    def __getitem__(self, key: str) -> Entry:
        if key not in self._index:
            raise KeyError(f'{self.source} has no proposals of {key}')
        i = self._index[key]
        rows = slice(int(self._offsets[i]), int(self._offsets[i + 1]))
        return dict(bboxes=self._bboxes[rows], scores=self._scores[rows])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def num_boxes(self) -> int:
        """Number of boxes of all images."""
        return len(self._scores)

    def check_covers(self, keys: Iterable[str], ann_file: PathLike) -> None:
        """Raise unless every image of an annotation file has an entry.

        Args:
            keys (Iterable[str]): Names by :func:`image_key`.
            ann_file (PathLike): Where they come from, for the message.

        Raises:
            ValueError: With the first image that has none, and both files.
        """
        missing = [key for key in keys if key not in self._index]
        if missing:
            bare = next((key for key in self if '/' not in key), None)
            if bare is not None and '/' in missing[0]:
                raise ValueError(
                    f'{self.source}: names of images have no folder, such as '
                    f'{bare}: name them "<folder>/<file>", as {missing[0]}'
                    f'{_and_more(len(missing))} of {ann_file}, which has no '
                    'entry'
                )
            known = next(iter(self), None)
            raise ValueError(
                f'{self.source} holds proposals for other images: '
                f'{missing[0]}{_and_more(len(missing))} of {ann_file} has '
                f'no entry (its first entry is {known})'
            )


def _and_more(count: int) -> str:
    return f' (and {count - 1} more)' if count > 1 else ''


def select_proposals(
    entry: Entry, num_max: Optional[int] = None, min_size: float = 0.0
) -> Entry:
    """Return the best proposals of an image, highest score first.

    Args:
        entry (dict): ``bboxes`` (P, 4) and ``scores`` (P,).
        num_max (int, optional): How many at most; None takes all.
        min_size (float): Shortest side in pixels. Boxes without an area are
            left out in any case. Defaults to 0.
    """
    sides = entry['bboxes'][:, 2:] - entry['bboxes'][:, :2]
    rows = np.flatnonzero(((sides >= min_size) & (sides > 0)).all(1))
    best = np.argsort(-entry['scores'][rows], kind='stable')[:num_max]
    return {name: array[rows[best]] for name, array in entry.items()}


def save_proposals(
    path: PathLike, proposals: Mapping, provenance: Dict[str, Any]
) -> None:
    """Write proposals as ``.safetensors`` or ``.pkl``, atomically.

    Args:
        path (PathLike): The extension decides the form.
        proposals (Mapping): Name ``'<folder>/<file>'`` to ``{'bboxes':
            (P, 4) xyxy in pixels of the original image, 'scores': (P,)}``.
            :class:`Proposals` are written without a copy.
        provenance (dict): What made them; anything that JSON can hold.

    Raises:
        ValueError: If they are malformed, or for another extension.
    """
    suffix = check_suffix(path)
    if not isinstance(proposals, Proposals):
        proposals = Proposals.pack(dict(proposals), source=str(path))
    info = dict(format=FORMAT, provenance=provenance)
    if suffix == '.pkl':
        with atomic_write(path) as file:
            write_pickle(file, proposals, info)
        return
    keys = '\n'.join(proposals).encode('utf-8')
    arrays = dict(
        bboxes=proposals._bboxes,
        scores=proposals._scores,
        offsets=proposals._offsets,
        keys=np.frombuffer(keys, np.uint8),
    )
    write_tensors(path, arrays, info)


def load_proposals(path: PathLike, make_it: Optional[str] = None) -> Proposals:
    """Read proposals of either form, or mmdet 3.x's ``DumpProposals``.

    Args:
        path (PathLike): ``.safetensors`` or ``.pkl``. A pickle is read
            without executing anything (:mod:`ovd.artifacts.array_pickle`).
        make_it (str, optional): The command that makes the file, for the
            message when it does not exist.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged, malformed, or holds anything else.
    """
    make_it = make_it or (
        f'python tools/test.py RPN_CONFIG CHECKPOINT --out {path}'
    )
    suffix = check_suffix(path)
    path = require_file(path, 'proposals file', make_it)
    read = _read_tensors if suffix == '.safetensors' else _read_pickle
    return read(path)


def count_proposals(path: PathLike) -> Tuple[int, int]:
    """Return the number of images and of boxes of a proposals file.

    Of a ``.safetensors`` only the header is read. The errors are those of
    :func:`load_proposals`.
    """
    if check_suffix(path) != '.safetensors':
        found = load_proposals(path)
        return len(found), found.num_boxes
    file = _open_tensors(require_file(path, 'proposals file'))
    return file.shape('offsets')[0] - 1, file.shape('scores')[0]


def check_suffix(path: PathLike) -> str:
    """Return the extension of a proposals file.

    Raises:
        ValueError: If it is neither ``.safetensors`` nor ``.pkl``.
    """
    suffix = Path(path).suffix
    if suffix not in ('.safetensors', '.pkl'):
        raise ValueError(
            f'proposals are .safetensors or .pkl files, got {path}'
        )
    return suffix


def _open_tensors(path: Path) -> TensorFile:
    file = TensorFile(path)
    if file.info.get('format') != FORMAT:
        raise ValueError(
            f'{path} is no proposals file: its format is '
            f'{file.info.get("format")!r}, expected {FORMAT!r}'
        )
    return file


def _read_tensors(path: Path) -> Proposals:
    file = _open_tensors(path)
    text = file.read('keys').tobytes().decode('utf-8')
    return Proposals(
        text.split('\n') if text else [],
        file.read('bboxes'),
        file.read('scores'),
        file.read('offsets'),
        check_provenance(file.info, str(path)),
        str(path),
    )


def _read_pickle(path: Path) -> Proposals:
    content, provenance = read_pickle(path)
    if isinstance(content, list):
        raise ValueError(
            f'{path} is a list (mmdet 2.x), which does not say whose boxes '
            'they are\nname them with: python tools/convert_proposals.py '
            f'{path} OUT --ann-file FILE'
        )
    return Proposals.pack(content, provenance, str(path))
