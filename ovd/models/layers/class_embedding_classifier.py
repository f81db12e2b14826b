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
from ovd.clip.linear import linear
from ovd.models.novel_classes import check_novel_classes

MAX_SCORES = 2**20  # computed at once, so that they stay in the cache


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
        test_temperature (float, optional): The same at test time; DetPro has
            0.007 there. Defaults to ``temperature``.
        embed_dims (int, optional): D. Where it is given, the file may be
            made later, and is read when it is first needed. Defaults to that
            of the file.

    Raises:
        FileNotFoundError: If there is no such file, and no ``embed_dims``.
        ValueError: If a temperature is not positive, or the file has
            embeddings of another size than ``embed_dims``.
    """

    def __init__(
        self,
        class_embeddings: str,
        temperature: float = 0.01,
        test_temperature: Optional[float] = None,
        embed_dims: Optional[int] = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ('temperature', temperature),
            ('test_temperature', test_temperature),
        ):
            if value is not None and not value > 0:  # nor NaN
                raise ValueError(f'{name} must be positive, got {value}')
        self.temperature = temperature
        self.test_temperature = test_temperature
        self.class_embeddings_file = class_embeddings
        self.embed_dims = embed_dims
        if embed_dims is None or Path(class_embeddings).is_file():
            try:
                embed_dims = self.source.embeddings.shape[1]
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f'{error}\nor give the classifier embed_dims, and '
                    'ClassEmbeddingHook makes it before the run'
                ) from error
            self.embed_dims = embed_dims
        # One checkpoint, any vocabulary. No buffers, not even such as are not
        # saved: the host's moving averages pair those of two models by their
        # place, and here number and shapes change.
        self.class_embeddings: Optional[Tensor] = None
        self.novel_mask: Optional[Tensor] = None
        self.bg_embedding = nn.Parameter(
            torch.empty(1, embed_dims).normal_(std=0.01)
        )

    @cached_property
    def source(self) -> ClassEmbeddings:
        """The class embeddings that the classes are taken from."""
        source = ClassEmbeddings.load(self.class_embeddings_file)
        found = source.embeddings.shape[1]
        if self.embed_dims not in (None, found):
            raise ValueError(
                f'{self.class_embeddings_file} has embeddings of the size '
                f'{found}, the config says embed_dims={self.embed_dims}: '
                "change it, or make the file anew with the config's CLIP"
            )
        return source

    def set_classes(
        self,
        names: Sequence[str],
        novel_classes: Sequence[str] = (),
        source: Optional[ClassEmbeddings] = None,
    ) -> None:
        """Score these classes from now on, in this order.

        Args:
            names (Sequence[str]): C class names.
            novel_classes (Sequence[str]): Those without boxes in training.
            source (ClassEmbeddings, optional): Where to take them from in
                place of the file that the config names.

        Raises:
            FileNotFoundError: If the file of the config is still missing.
            ValueError: If a name has no embedding, a novel class is none of
                the names, or the other source was made by another CLIP.
        """
        check_novel_classes(names, novel_classes)
        if source is not None:
            check_same_clip(
                self.source.clip,
                source.clip,
                'the class embeddings of the config',
                'the new class embeddings',
            )
            self.source = source
        self.class_embeddings = self.source.select(names).to(self.bg_embedding)
        novel = set(novel_classes)
        self.novel_mask = torch.tensor(
            [name in novel for name in names],
            dtype=torch.bool,
            device=self.bg_embedding.device,
        )

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Let ``to`` and ``cuda`` reach the vocabulary too."""
        if self.novel_mask is not None:
            self.class_embeddings = fn(self.class_embeddings)
            self.novel_mask = fn(self.novel_mask)
        return super()._apply(fn, recurse)

    def forward(self, region_embeddings: Tensor) -> Tensor:
        """Map region embeddings (R, D) to logits (R, C + 1); R may be 0.

        They are in float32 also where the model is not.
        """
        logits = self._logits(region_embeddings, self._rows())
        if self.training:
            assert self.novel_mask is not None  # as of the rows
            hidden = F.pad(self.novel_mask, (0, 1))
            logits = logits.masked_fill(hidden, float('-inf'))
        return logits

    @torch.no_grad()
    def probabilities(
        self, region_embeddings: Tensor, with_background: bool = True
    ) -> Tensor:
        """Return the softmax (R, C + 1) over the classes, none hidden.

        Args:
            region_embeddings (Tensor): (R, D).
            with_background (bool): Whether the background takes part;
                otherwise it gets 0. Defaults to True.
        """
        rows = self._rows(with_background)

        def score(part: slice, out: Tensor) -> None:
            logits = self._logits(region_embeddings[part], rows)
            out[:, : len(rows)] = logits.softmax(dim=-1)
            out[:, len(rows) :] = 0

        return self._by_parts(score, region_embeddings)

    @torch.no_grad()
    def ensemble(self, text: Tensor, image: Tensor, weight: Tensor) -> Tensor:
        """Return ``p_text^w * p_image^(1 - w)`` (R, C + 1).

        ``p_text`` is the softmax over classes and background, ``p_image``
        over the classes alone; the background keeps that of the text.

        Args:
            text (Tensor): Region embeddings (R, D) of the text branch.
            image (Tensor): The same of the image branch.
            weight (Tensor): (C,), w of each class.
        """
        rows = self._rows()

        def score(part: slice, out: Tensor) -> None:
            log_text = self._logits(text[part], rows).log_softmax(dim=-1)
            log_image = self._logits(image[part], rows[:-1]).log_softmax(-1)
            out[:, -1] = log_text[:, -1].exp()
            mixed = log_image.mul_(1 - weight).addcmul_(
                log_text[:, :-1], weight
            )
            torch.exp(mixed, out=out[:, :-1])

        return self._by_parts(score, text)

    def _by_parts(
        self, score: Callable[[slice, Tensor], None], region_embeddings: Tensor
    ) -> Tensor:
        """Return (R, C + 1), filled by some RoIs at a time.

        Whatever the number of names, these scores are there only once.
        """
        assert self.novel_mask is not None  # as of the rows
        num_rois, columns = len(region_embeddings), len(self.novel_mask) + 1
        scores = torch.empty(
            num_rois, columns, device=region_embeddings.device
        )
        step = max(MAX_SCORES // columns, 1)
        for start in range(0, num_rois, step):
            part = slice(start, min(start + step, num_rois))
            score(part, scores[part])
        return scores

    def _rows(self, with_background: bool = True) -> Tensor:
        """Return the unit vectors (C [+ 1], D) that regions are compared to.

        Raises:
            RuntimeError: If no classes were set. In training, novel ones
                would be learned as background.
        """
        if self.class_embeddings is None:
            raise RuntimeError(
                'set_classes(names, novel_classes) must come first; '
                'OpenVocabularyHook calls it with the names of the dataset'
            )
        rows = [self.class_embeddings]
        if with_background:
            rows.append(self.bg_embedding)
        return F.normalize(torch.cat(rows).float(), dim=-1)

    def _logits(self, region_embeddings: Tensor, rows: Tensor) -> Tensor:
        """Return cosines over the temperature, in float32."""
        temperature = (
            self.temperature
            if self.training or self.test_temperature is None
            else self.test_temperature
        )
        # Half precision would round logits of up to 100 to steps of 0.06.
        with torch.autocast(region_embeddings.device.type, enabled=False):
            regions = F.normalize(region_embeddings.float(), dim=-1)
            return linear(regions / temperature, rows)
