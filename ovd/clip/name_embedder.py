"""Names to class embeddings, in the way that a detector's were made."""

import threading
from typing import List, Optional, Sequence, Union

import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings, check_class_names
from ovd.artifacts.provenance import check_same_clip
from ovd.suggest import check_choice

from .loading import LoadedCLIP, load_clip
from .prompt_templates import TEMPLATE_SETS
from .text_cache import TextCache, digest_sentences
from .text_encoder import LEARNED, embed_class_names


class NameEmbedder:
    """Embeds names with the CLIP that made other class embeddings.

    It is loaded when the first name comes that is not in the cache. Threads
    may share one: they wait for each other.

    Args:
        trained (ClassEmbeddings): Those that a detector was trained with.
        device (str | torch.device): Where CLIP computes. Defaults to
            ``'cpu'``.
        cache (TextCache, optional): Where embeddings are kept.
    """

    def __init__(
        self,
        trained: ClassEmbeddings,
        device: Union[str, torch.device] = 'cpu',
        cache: Optional[TextCache] = None,
    ) -> None:
        self.trained = trained
        self.device = device
        self.cache = cache
        self._clip: Optional[LoadedCLIP] = None
        self._lock = threading.Lock()

    def embed(
        self, names: Sequence[str], templates: Optional[str] = None
    ) -> ClassEmbeddings:
        """Return the class embeddings of names, less the spaces about them.

        Args:
            names (Sequence[str]): C names; at least one.
            templates (str, optional): A key of ``TEMPLATE_SETS``, or
                ``'learned'`` where the detector was trained with such.
                Defaults to what it was trained with.

        Raises:
            FileNotFoundError: If the CLIP is needed, and is missing.
            ValueError: If there are no names, a name is empty, too long or
                stands there twice, there are no such templates, it is not
                known with which ones the detector was trained, or the CLIP
                is another one than it was.
        """
        check_class_names(names)
        names = [name.strip() for name in names]
        if not names:
            raise ValueError('expected at least one name, got none')
        check_class_names(names)  # "a" and "a " are the same
        _check_encodable(names)
        templates = self._choose(templates)
        contexts = self.trained.contexts if templates == LEARNED else None
        sentences = digest_sentences(
            self.trained.clip['sha256'], templates, contexts
        )
        with self._lock:
            found = (
                {} if self.cache is None else self.cache.find(sentences, names)
            )
            new = [name for name in names if name not in found]
            if new:
                embeddings = embed_class_names(
                    self._load(), new, templates, contexts=contexts
                )
                found.update(zip(new, embeddings))
                if self.cache is not None:
                    self.cache.add(sentences, new, embeddings)
        return ClassEmbeddings(
            names,
            torch.stack([found[name] for name in names]),
            self.trained.clip,
            templates,
            contexts=contexts,
        )

    def _choose(self, templates: Optional[str]) -> str:
        """Return the templates to use.

        Raises:
            ValueError: If there are no such, or it is not known which.
        """
        templates = templates or self.trained.templates
        if templates == 'converted':
            raise ValueError(
                'the class embeddings that the detector was trained with come '
                'from another project, which does not say in which sentences '
                'it put the names: say it with templates=, such as '
                f'{", ".join(TEMPLATE_SETS)}'
            )
        choices: List[str] = [*TEMPLATE_SETS]
        if self.trained.contexts is not None:
            choices.append(LEARNED)
        check_choice(templates, choices, 'templates')
        return templates

    def _load(self) -> LoadedCLIP:
        """Return the CLIP of the detector, loaded once."""
        if self._clip is None:
            clip = load_clip(self.trained.clip['name'], self.device)
            check_same_clip(
                clip.identity,
                self.trained.clip,
                f'the CLIP found as {clip.name}',
                'the class embeddings of the detector',
            )
            self._clip = clip
        return self._clip


def _check_encodable(names: List[str]) -> None:
    """Raise if a name is no text, as bytes of another encoding are not.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f'the name {name!r} is no text in UTF-8'
            ) from error
