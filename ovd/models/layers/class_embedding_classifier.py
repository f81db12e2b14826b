"""Cosine classifier over fixed class embeddings.

Shapes: R RoIs, C foreground classes, D embedding size.
"""
from functools import cached_property
from pathlib import Path
from typing import Callable, Optional, Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.provenance import check_same_clip


@MODELS.register_module()
class ClassEmbeddingClassifier(BaseModule):
    """Score region embeddings by cosine similarity to class embeddings.

    Logits are ``cos(region, class) / temperature``, over the classes and,
    last, a learned background vector (ViLD-text of Gu et al., ICLR 2022). In
    training, novel classes are hidden: their logits are -inf.

    Args:
        class_embeddings (str): Class embeddings file of
            ``tools/class_embeddings.py``.
        temperature (float): Divides the cosine. Defaults to 0.01.
        embed_dims (int, optional): D. Where it is given, the file may be
            made later, and is read when it is first needed. Defaults to that
            of the file.

    Raises:
        FileNotFoundError: If there is no such file, and no ``embed_dims``.
        ValueError: If ``temperature`` is not positive, or the file has
            embeddings of another size than ``embed_dims``.
    """

    def __init__(self,
                 class_embeddings: str,
                 temperature: float = 0.01,
                 embed_dims: Optional[int] = None) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(
                f'temperature must be positive, got {temperature}')
        self.temperature = temperature
        self.class_embeddings_file = class_embeddings
        self.embed_dims = embed_dims
        if embed_dims is None or Path(class_embeddings).is_file():
            try:
                self.embed_dims = self.source.embeddings.shape[1]
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f'{error}\nor give the classifier embed_dims, and '
                    'ClassEmbeddingHook makes it before the run') from error
        # One checkpoint, any vocabulary. No buffers, not even such as are not
        # saved: the host's moving averages pair those of two models by their
        # place, and here number and shapes change.
        self.class_embeddings: Optional[Tensor] = None
        self.novel_mask: Optional[Tensor] = None
        self.bg_embedding = nn.Parameter(
            torch.empty(1, self.embed_dims).normal_(std=0.01))

    @cached_property
    def source(self) -> ClassEmbeddings:
        """The class embeddings that the classes are taken from."""
        source = ClassEmbeddings.load(self.class_embeddings_file)
        found = source.embeddings.shape[1]
        if self.embed_dims not in (None, found):
            raise ValueError(
                f'{self.class_embeddings_file} has embeddings of the size '
                f'{found}, the config says embed_dims={self.embed_dims}: '
                "change it, or make the file anew with the config's CLIP")
        return source

    def set_classes(self,
                    names: Sequence[str],
                    novel_classes: Sequence[str] = (),
                    source: Optional[ClassEmbeddings] = None) -> None:
        """Score these classes from now on, in this order.

        Args:
            names (Sequence[str]): C class names.
            novel_classes (Sequence[str]): Those without boxes in training.
            source (ClassEmbeddings, optional): Where to take them from in
                place of the file that the config names.

        Raises:
            FileNotFoundError: If the file of the config is still missing.
            ValueError: If a name has no embedding, or the other source was
                made by another CLIP.
        """
        if source is not None:
            check_same_clip(self.source.clip, source.clip,
                            'the class embeddings of the config',
                            'the new class embeddings')
            self.source = source
        self.class_embeddings = self.source.select(names).to(
            self.bg_embedding)
        novel = set(novel_classes)
        self.novel_mask = torch.tensor([name in novel for name in names],
                                       dtype=torch.bool,
                                       device=self.bg_embedding.device)

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Let ``to`` and ``cuda`` reach the vocabulary too."""
        if self.novel_mask is not None:
            self.class_embeddings = fn(self.class_embeddings)
            self.novel_mask = fn(self.novel_mask)
        return super()._apply(fn, recurse)

    def forward(self, region_embeddings: Tensor) -> Tensor:
        """Map region embeddings (R, D) to logits (R, C + 1); R may be 0."""
        logits = self.foreground_logits(region_embeddings)
        if self.training:
            logits = logits.masked_fill(self.novel_mask, float('-inf'))
        background = _cosine(region_embeddings, self.bg_embedding)
        return torch.cat([logits, background / self.temperature], dim=-1)

    def foreground_logits(self, region_embeddings: Tensor) -> Tensor:
        """Map region embeddings (R, D) to logits (R, C), none hidden.

        Raises:
            RuntimeError: If no classes were set. In training, novel ones
                would be learned as background.
        """
        if self.novel_mask is None:
            raise RuntimeError(
                'set_classes(names, novel_classes) must come first; '
                'OpenVocabularyHook calls it with the names of the dataset')
        return _cosine(region_embeddings,
                       self.class_embeddings) / self.temperature


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosines (M, N) between the rows of (M, D) and (N, D)."""
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
