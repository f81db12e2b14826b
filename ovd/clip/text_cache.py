"""Class embeddings that were made once, on disk, found by digests.

Shapes: C classes, D embedding size.
"""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set

import numpy as np
import torch
from torch import Tensor

from ovd.artifacts.files import PathLike
from ovd.artifacts.tensor_file import TensorFile, digest_tensors, write_tensors

from .prompt_templates import TEMPLATE_SETS

# Another number where sentences are made or embedded in another way: older
# files are then passed over.
FORMAT = 1
EMBEDDINGS = 'embeddings'


def digest_sentences(
    clip_sha256: str, templates: str, contexts: Optional[Tensor] = None
) -> str:
    """Return what tells all embeddings of one name apart.

    Args:
        clip_sha256 (str): Digest of the CLIP.
        templates (str): A key of ``TEMPLATE_SETS``, or ``'learned'``.
        contexts (Tensor, optional): (G, L, E), the prompts of ``'learned'``.
    """
    chosen = TEMPLATE_SETS.get(templates)
    return _digest(
        [
            FORMAT,
            clip_sha256,
            templates,
            None
            if chosen is None
            else [chosen.templates, chosen.clean_names, chosen.this_is],
            None
            if contexts is None
            else [
                contexts.shape,
                hashlib.sha256(contexts.contiguous().numpy().data).hexdigest(),
            ],
        ]
    )


def _digest(content: list) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class TextCache:
    """Embeddings of names, in files that any number of processes share.

    Names that are embedded together make one file, whose name is the digest
    of theirs; it appears under that name when it is whole. So processes need
    not wait for each other: at worst both write the same. What is damaged is
    removed with a warning. The folder may be deleted at any time.

    Args:
        folder (PathLike): Where the files are; made when it is needed.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder) / 'text'
        self._rows: Dict[str, Dict[str, np.ndarray]] = {}
        self._seen: Set[Path] = set()

    def find(self, sentences: str, names: Sequence[str]) -> Dict[str, Tensor]:
        """Return the embeddings (D,) of those of the names that are there.

        Args:
            sentences (str): Digest of :func:`digest_sentences`.
            names (Sequence[str]): Names to look for.
        """
        rows = self._rows.setdefault(sentences, {})
        if any(name not in rows for name in names):
            for path in sorted(
                (self.folder / sentences).glob('*.safetensors')
            ):
                if path not in self._seen:
                    rows.update(self._read(path))
                    self._seen.add(path)
        return {
            name: torch.from_numpy(rows[name])
            for name in names
            if name in rows
        }

    def _read(self, path: Path) -> Dict[str, np.ndarray]:
        """Return the rows of a file, none of one that is damaged."""
        try:
            file = TensorFile(path)
            names, content = file.info['names'], file.read(EMBEDDINGS)
            if path.stem != _digest(names):
                raise ValueError('its names are not those of its digest')
            if file.digest() != file.info['sha256']:
                raise ValueError('its embeddings have another digest')
            return dict(zip(names, content.copy(), strict=True))
        except FileNotFoundError:  # another process found it damaged
            return {}
        except (ValueError, OSError, KeyError, TypeError) as error:
            warnings.warn(
                f'{path}, where class embeddings are cached, is damaged and '
                f'made anew ({error})',
                stacklevel=2,
            )
            self._remove(path)
            return {}

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
        except OSError as error:
            warnings.warn(f'{path} can not be removed ({error})', stacklevel=2)

    def add(
        self, sentences: str, names: List[str], embeddings: Tensor
    ) -> None:
        """Keep the embeddings (C, D) float32 of C names.

        Where the disk takes them not, they are kept in memory, with a
        warning.

        Args:
            sentences (str): Digest of :func:`digest_sentences`.
            names (list[str]): C names.
            embeddings (Tensor): (C, D), on the CPU.
        """
        arrays = {EMBEDDINGS: embeddings.numpy().copy()}
        self._rows.setdefault(sentences, {}).update(
            zip(names, arrays[EMBEDDINGS])
        )
        path = self.folder / sentences / f'{_digest(names)}.safetensors'
        try:
            write_tensors(
                path, arrays, dict(names=names, sha256=digest_tensors(arrays))
            )
        except OSError as error:
            warnings.warn(
                f'class embeddings can not be cached in {self.folder} '
                f'({error}): set OVD_CACHE to another folder',
                stacklevel=2,
            )
        self._seen.add(path)
