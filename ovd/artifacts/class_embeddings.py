"""Class embeddings: the words that a detector knows, as CLIP sees them.

Shapes: C classes, D embedding size; G learned prompts of L tokens each, E
token embedding size.
"""

from collections import Counter
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from ovd.spelling import canonical_spelling
from ovd.suggest import did_you_mean

from .files import PathLike, atomic_write, require_file
from .provenance import check_clip_identity
from .torch_file import read_torch_file

MAKE_IT = 'python tools/class_embeddings.py vild --dataset NAME'
FOREIGN = (
    'if it is of another project, make it ours with: '
    'python tools/class_embeddings.py convert FILE --dataset NAME'
)


def check_class_names(names: Sequence[str]) -> None:
    """Raise unless these are different, non-empty strings.

    Raises:
        ValueError: If they are not, with the names.
    """
    if isinstance(names, str):
        raise ValueError(f'names must be a list, got the string {names!r}')
    wrong = [
        name for name in names if not isinstance(name, str) or not name.strip()
    ]
    if wrong:
        raise ValueError(f'names must be non-empty strings, got {wrong}')
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise ValueError(f'names must differ, several times: {doubled}')


@dataclass(frozen=True)
class ClassEmbeddings:
    """Text embeddings of classes, found by name.

    Args:
        names (list[str]): C class names as they stand in annotation files.
        embeddings (Tensor): (C, D) float32 of unit norm, on the CPU.
        clip (dict[str, str]): ``{'name', 'sha256'}`` of the CLIP.
        templates (str): The prompt templates that were used; ``'learned'``
            where the sentences are :attr:`contexts`, ``'converted'`` where
            another project made them and did not say how.
        settings (dict): What else made them, as plain values: ``precision``,
            ``synonyms``; of learned ones ``prompts``, of converted ones
            ``converted_from``, with the digests of those files.
        contexts (Tensor, optional): (G, L, E) float32, the learned prompts
            (DetPro), so that further names can be encoded with them.

    Raises:
        ValueError: If a part is not like that.
    """

    names: List[str]
    embeddings: Tensor
    clip: Dict[str, str]
    templates: str
    settings: Dict[str, Any] = field(default_factory=dict)
    contexts: Optional[Tensor] = None

    def __post_init__(self) -> None:
        if not isinstance(self.names, list):
            raise ValueError(
                f'names must be a list, got {type(self.names).__name__}'
            )
        check_class_names(self.names)
        _check_embeddings(self.embeddings, len(self.names))
        check_clip_identity(self.clip)
        if not isinstance(self.templates, str):
            raise ValueError(
                f'templates must be a string, got {self.templates!r}'
            )
        if not isinstance(self.settings, dict):
            raise ValueError(f'settings must be a dict, got {self.settings!r}')
        if (self.contexts is not None) != (self.templates == 'learned'):
            raise ValueError(
                "contexts belong to templates 'learned' and to no others, "
                f'got templates {self.templates!r} '
                f'{"with" if self.contexts is not None else "without"} them'
            )
        if self.contexts is not None:
            check_contexts(self.contexts)

    def save(self, path: PathLike) -> None:
        """Write a ``.pth`` that holds a plain dict, atomically."""
        content = {
            'names': self.names,
            # A view would drag the whole tensor that it shows into the file.
            'embeddings': self.embeddings.detach().cpu().clone(),
            'clip': dict(self.clip),
            'templates': self.templates,
            'settings': dict(self.settings),
        }
        if self.contexts is not None:
            content['contexts'] = self.contexts.detach().cpu().clone()
        with atomic_write(path) as file:
            torch.save(content, file)

    @classmethod
    def load(cls, path: PathLike) -> 'ClassEmbeddings':
        """Read a file of :meth:`save`.

        Raises:
            FileNotFoundError: If it does not exist.
            ValueError: If it is damaged, of another form, or holds values
                that class embeddings can't have.
        """
        content = _read_dict(require_file(path, 'class embeddings', MAKE_IT))
        missing = [
            key.name
            for key in fields(cls)
            if key.name not in content
            and key.default is MISSING
            and key.default_factory is MISSING
        ]
        if missing:
            raise ValueError(
                f'{path} is no class embeddings file of ovd: it has no '
                f'{", ".join(missing)}, only '
                f'{", ".join([*map(str, content)][:10])}\n{FOREIGN}'
            )
        try:
            return cls(
                **{
                    key.name: content[key.name]
                    for key in fields(cls)
                    if key.name in content
                }
            )
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error

    def select(self, names: Sequence[str]) -> Tensor:
        """Return the embeddings (len(names), D) of these classes.

        A name that is not there counts as there in its other spelling, if
        :mod:`ovd.spelling` knows one.

        Raises:
            ValueError: If a name is not there, with the names and near ones.
        """
        if isinstance(names, str):
            raise ValueError(f'names must be a list, got the string {names!r}')
        rows = {name: row for row, name in enumerate(self.names)}
        other = {canonical_spelling(name): row for name, row in rows.items()}
        found = [
            rows.get(name, other.get(canonical_spelling(name)))
            for name in names
        ]
        unknown = [name for name, row in zip(names, found) if row is None]
        if unknown:
            listed = ''.join(
                f'\n  "{name}"{did_you_mean(name, rows)}'
                for name in unknown[:10]
            )
            raise ValueError(
                f'{len(unknown)} of {len(names)} classes have no embedding '
                f'among the {len(rows)} there are:{listed}'
                + ('\n  ...' if len(unknown) > 10 else '')
            )
        return self.embeddings[found]


def check_contexts(contexts: Any) -> None:
    """Raise unless these are learned prompts (G, L, E), float32 and finite.

    Raises:
        ValueError: If they are not.
    """
    if (
        not isinstance(contexts, Tensor)
        or contexts.dtype != torch.float32
        or contexts.ndim != 3
        or 0 in contexts.shape
    ):
        form = (
            f'{contexts.dtype} {tuple(contexts.shape)}'
            if isinstance(contexts, Tensor)
            else type(contexts).__name__
        )
        raise ValueError(
            'contexts must be a float32 tensor of the shape '
            f'(G, L, E), got {form}'
        )
    if not torch.isfinite(contexts).all():
        raise ValueError('contexts must be finite, got NaN or infinity')


def _read_dict(path: PathLike) -> Dict[Any, Any]:
    """Read a ``.pth`` that must hold a dict."""
    content = read_torch_file(path, 'class embeddings')
    if not isinstance(content, dict):
        raise ValueError(
            f'{path} is no class embeddings file of ovd: it holds a '
            f'{type(content).__name__} without names\n{FOREIGN}'
        )
    return content


def _check_embeddings(embeddings: Tensor, num_names: int) -> None:
    """Raise unless (num_names, D) float32, finite and of unit norm."""
    if not isinstance(embeddings, Tensor):
        raise ValueError(
            f'embeddings must be a tensor, got {type(embeddings).__name__}'
        )
    if embeddings.dtype != torch.float32:
        raise ValueError(f'embeddings must be float32, got {embeddings.dtype}')
    if embeddings.ndim != 2 or embeddings.shape[0] != num_names:
        raise ValueError(
            f'embeddings must have the shape ({num_names}, D), one row for '
            f'each name, got {tuple(embeddings.shape)}'
        )
    if not torch.isfinite(embeddings).all():
        raise ValueError('embeddings must be finite, got NaN or infinity')
    norms = embeddings.norm(dim=1)
    if num_names and (norms - 1).abs().max() > 1e-3:
        raise ValueError(
            f'embeddings must have unit norm, got norms from '
            f'{norms.min():.4f} to {norms.max():.4f}'
        )
