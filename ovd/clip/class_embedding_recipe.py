"""What turns class names into class embeddings, and whether a file is that."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike, sha256_file
from ovd.artifacts.prompt_context import load_prompt_contexts
from ovd.suggest import check_choice

from .loading import PRECISIONS, load_clip
from .prompt_templates import TEMPLATE_SETS
from .text_encoder import LEARNED, embed_class_names
from .weights import identify_clip

# Of files that say nothing
DEFAULT_SETTINGS = dict(precision='fp32', synonyms=None)
Synonyms = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Recipe:
    """A CLIP, the sentences that names are put into, and how to compute.

    Args:
        pretrained (str): CLIP, see :func:`ovd.clip.loading.load_clip`.
        templates (str): A key of ``TEMPLATE_SETS``, or ``'learned'``.
            Defaults to ``'vild'``.
        prompts (Sequence[PathLike]): Files of the learned prompts of
            ``'learned'``, which are ensembled.
        precision (str): See :func:`ovd.clip.loading.load_clip`. Defaults to
            ``'fp32'``.

    Raises:
        FileNotFoundError: If a learned prompt is missing.
        ValueError: If an argument is none of those, or learned prompts are
            of different shapes.
    """

    pretrained: str
    templates: str = 'vild'
    prompts: Sequence[PathLike] = ()
    precision: str = 'fp32'

    def __post_init__(self) -> None:
        check_choice(self.templates, [*TEMPLATE_SETS, LEARNED], 'templates')
        check_choice(self.precision, PRECISIONS, 'precision')
        if isinstance(self.prompts, (str, Path)):
            raise ValueError(
                f'prompts must be a list of files, got {str(self.prompts)!r}'
            )
        if (self.templates == LEARNED) != bool(self.prompts):
            raise ValueError(
                f"'{LEARNED}' and --prompt go together, got "
                f"'{self.templates}' and {len(self.prompts)} learned prompts"
            )
        _ = self.contexts  # refuse bad ones now, not after a download

    @cached_property
    def contexts(self) -> Optional[Tensor]:
        """The learned prompts (G, L, E), if there are any."""
        contexts = [load_prompt_contexts(path) for path in self.prompts]
        if len({context.shape[1:] for context in contexts}) > 1:
            raise ValueError(
                'learned prompts that are ensembled must have one shape, got '
                + ', '.join(
                    f'{tuple(context.shape[1:])} in {path}'
                    for path, context in zip(self.prompts, contexts)
                )
            )
        return torch.cat(contexts) if contexts else None

    @cached_property
    def clip_sha256(self) -> str:
        """Digest of the CLIP's weights.

        Raises:
            FileNotFoundError: If they are those of a file that is missing.
        """
        return identify_clip(self.pretrained)[0]['sha256']

    def settings(self, synonyms: Optional[Synonyms] = None) -> Dict[str, Any]:
        """Return what class embeddings say beside CLIP and templates.

        Args:
            synonyms (Synonyms, optional): See :meth:`make`.
        """
        settings: Dict[str, Any] = dict(
            precision=self.precision, synonyms=_digest(synonyms)
        )
        if self.prompts:
            settings['prompts'] = [
                dict(file=Path(path).name, sha256=sha256_file(path))
                for path in self.prompts
            ]
        return settings

    def differences(
        self, found: ClassEmbeddings, synonyms: Optional[Synonyms] = None
    ) -> List[str]:
        """Return in what class embeddings differ from what this makes.

        Names and the CLIP aside.

        Args:
            found (ClassEmbeddings): Of a file.
            synonyms (Synonyms, optional): See :meth:`make`.
        """
        theirs = {**DEFAULT_SETTINGS, **found.settings}
        ours = self.settings(synonyms)
        same = dict(templates=found.templates == self.templates)
        same.update(
            (key, theirs[key] == ours[key]) for key in DEFAULT_SETTINGS
        )
        # Their mean has no order, and they may lie in other files.
        same['prompts'] = _contents(found.contexts) == _contents(self.contexts)
        return [what for what, is_same in same.items() if not is_same]

    def make(
        self, names: Sequence[str], synonyms: Optional[Synonyms] = None
    ) -> ClassEmbeddings:
        """Embed class names, on the GPU where there is one.

        Args:
            names (Sequence[str]): C class names.
            synonyms (Synonyms, optional): Other names of each class, to be
                averaged with its own.
        """
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        clip = load_clip(self.pretrained, device, self.precision)
        embeddings = embed_class_names(
            clip, names, self.templates, synonyms, self.contexts
        )
        return ClassEmbeddings(
            list(names),
            embeddings,
            clip.identity,
            self.templates,
            self.settings(synonyms),
            self.contexts,
        )


def _digest(synonyms: Optional[Synonyms]) -> Optional[str]:
    """Return what tells lists of synonyms apart."""
    if synonyms is None:
        return None
    lists = [list(own) for own in synonyms]
    return hashlib.sha256(json.dumps(lists).encode()).hexdigest()


def _contents(contexts: Optional[Tensor]) -> List[bytes]:
    return (
        []
        if contexts is None
        else sorted(context.numpy().tobytes() for context in contexts)
    )
