"""What turns class names into class embeddings, and whether a file is that."""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike, sha256_file
from ovd.artifacts.prompt_context import load_prompt_context
from ovd.suggest import check_choice

from .loading import PRECISIONS, load_clip
from .prompt_templates import TEMPLATE_SETS
from .text_encoder import LEARNED, embed_class_names
from .weights import identify_clip

# Of files that say nothing
DEFAULT_SETTINGS = dict(precision='fp32', synonyms=False)


@dataclass(frozen=True)
class Recipe:
    """A CLIP, the sentences that names are put into, and how to compute.

    Args:
        pretrained (str): CLIP, see :func:`ovd.clip.loading.load_clip`.
        templates (str): A key of ``TEMPLATE_SETS``, or ``'learned'``.
            Defaults to ``'vild'``.
        synonyms (bool): Whether names are averaged with their synonyms.
            Defaults to False.
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
    synonyms: bool = False
    prompts: Sequence[PathLike] = ()
    precision: str = 'fp32'

    def __post_init__(self) -> None:
        check_choice(self.templates, [*TEMPLATE_SETS, LEARNED], 'templates')
        check_choice(self.precision, PRECISIONS, 'precision')
        if (self.templates == LEARNED) != bool(self.prompts):
            raise ValueError(
                f"'{LEARNED}' and --prompt go together, got "
                f"'{self.templates}' and {len(self.prompts)} learned prompts")
        _ = self.contexts  # refuse bad ones now, not after a download

    @cached_property
    def contexts(self) -> Optional[Tensor]:
        """The learned prompts (G, L, E), if there are any."""
        contexts = [load_prompt_context(path) for path in self.prompts]
        shapes = {tuple(context.shape) for context in contexts}
        if len(shapes) > 1:
            raise ValueError(
                'learned prompts that are ensembled must have one shape, got '
                + ', '.join(f'{tuple(context.shape)} in {path}'
                            for path, context in zip(self.prompts, contexts)))
        return torch.stack(contexts) if contexts else None

    @cached_property
    def settings(self) -> Dict[str, Any]:
        """What class embeddings say of it beside CLIP and templates."""
        settings = dict(precision=self.precision, synonyms=self.synonyms)
        if self.prompts:
            settings['prompts'] = [
                dict(file=Path(path).name, sha256=sha256_file(path))
                for path in self.prompts
            ]
        return settings

    @cached_property
    def clip_sha256(self) -> str:
        """Digest of the CLIP's weights.

        Raises:
            FileNotFoundError: If they are those of a file that is missing.
        """
        return identify_clip(self.pretrained)[0]['sha256']

    def differences(self, found: ClassEmbeddings,
                    with_clip: bool = True) -> List[str]:
        """Return in what class embeddings differ from what this makes.

        Args:
            found (ClassEmbeddings): Of a file.
            with_clip (bool): Whether to compare the CLIPs, too. Defaults to
                True.
        """
        same = {
            'CLIP weights': not with_clip
                            or found.clip['sha256'] == self.clip_sha256,
            'templates': found.templates == self.templates,
            **{key: {**DEFAULT_SETTINGS, **found.settings}.get(key) == value
               for key, value in self.settings.items()},
        }
        return [what for what, is_same in same.items() if not is_same]

    def make(self,
             names: Sequence[str],
             synonyms: Optional[Sequence[Sequence[str]]] = None
             ) -> ClassEmbeddings:
        """Embed class names, on the GPU where there is one.

        Args:
            names (Sequence[str]): C class names.
            synonyms (Sequence[Sequence[str]], optional): Those of each, if
                the recipe says so.
        """
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        clip = load_clip(self.pretrained, device, self.precision)
        embeddings = embed_class_names(
            clip, names, self.templates, synonyms, self.contexts)
        return ClassEmbeddings(
            list(names), embeddings, clip.identity, self.templates,
            dict(self.settings), self.contexts)
