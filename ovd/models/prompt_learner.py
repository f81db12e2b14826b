"""Learn the words around a class name, in place of writing them (DetPro).

Shapes: B regions of a batch, G groups, L context tokens, E token embedding
size, D embedding size, C base classes, n side of a crop in pixels.
"""

from typing import Any, Dict, List, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.model import BaseModel
from torch import Tensor, nn

from ovd.artifacts.provenance import check_same_clip
from ovd.clip.crops import normalize_crops
from ovd.clip.prompt_templates import fill_placeholder
from ovd.clip.text_encoder import LEARNED, embed_class_names
from ovd.clip.tokenizer import tokenize
from ovd.spelling import mended_spelling

from .frozen_teacher import FrozenTeacher
from .losses import soft_background_loss
from .novel_classes import check_novel_classes

WRITTEN = ('vild', 'detpro')  # the sentences of ViLD and of ViLD*


@MODELS.register_module()
class PromptLearner(FrozenTeacher, BaseModel):
    """DetPro's prompts (Du et al., CVPR 2022): a context for each group.

    The sentence of a class is L learned token embeddings, its name and a dot.
    A batch is of one group of regions, and only its context gets a gradient:
    with SGD without momentum and weight decay, G groups trained together end
    as each would in a run of its own.

    The contexts are all that it has of parameters and of state. Predictions
    are made with the ensemble of all groups, as
    ``tools/class_embeddings.py learned`` makes it.

    Args:
        clip (str): Name or file of the CLIP.
        num_groups (int): G. Defaults to 5.
        context_length (int): L. Defaults to 8.
        context_std (float): Of the initial context. Defaults to 0.02.
        temperature (float): Divides the cosine. Defaults to 0.01.
        precision (str): CLIP's, see ``load_clip``. Defaults to ``'fp32'``.
        text_batch_size (int): Names at once. Defaults to 1024.
        kwargs: Of mmengine's ``BaseModel``.

    Raises:
        FileNotFoundError: If there is no such CLIP.
        ValueError: If an option is out of its range.
    """

    def __init__(
        self,
        clip: str,
        num_groups: int = 5,
        context_length: int = 8,
        context_std: float = 0.02,
        temperature: float = 0.01,
        precision: str = 'fp32',
        text_batch_size: int = 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (
            ('num_groups', num_groups),
            ('context_length', context_length),
            ('temperature', temperature),
            ('text_batch_size', text_batch_size),
        ):
            if value <= 0:
                raise ValueError(f'{name} must be positive, got {value}')
        self.load_teacher(clip, precision)
        size = num_groups, context_length, self.teacher.text_tower.token_dims
        self.context = nn.Parameter(context_std * torch.randn(size))
        self.temperature = temperature
        self.text_batch_size = text_batch_size
        # By the key of predictions that are made with them
        self._class_embeddings: Dict[str, Tensor] = {}

    @property
    def clip(self) -> Dict[str, str]:
        """The CLIP that the prompts are for: name and sha256."""
        return self.teacher.identity

    def set_vocabulary(
        self, names: Sequence[str], novel_classes: Sequence[str] = ()
    ) -> None:
        """Learn with the base classes among names; predict all of them.

        Args:
            names (Sequence[str]): All classes, in the order of labels.
            novel_classes (Sequence[str]): Those that are not learned with.

        Raises:
            ValueError: If a name is empty, or too long for CLIP, or a novel
                class is none of the names.
        """
        check_novel_classes(names, novel_classes)
        self.names = list(names)
        base = [name for name in names if name not in set(novel_classes)]
        self._tokens = tokenize(
            [
                fill_placeholder(mended_spelling(name), self.context.shape[1])
                for name in base
            ],
            self.teacher.text_tower.context_length,
        )
        self._class_embeddings = {}

    def check_regions(
        self, clip: Optional[Dict[str, str]], embed_dims: int, num_groups: int
    ) -> None:
        """Raise unless regions are what prompts are to be learned from.

        Args:
            clip (dict, optional): Identity of the CLIP that embedded them.
            embed_dims (int): D.
            num_groups (int): G.

        Raises:
            ValueError: If another CLIP embedded them, or as many groups.
        """
        if clip is not None:
            check_same_clip(
                self.clip, clip, 'the model', 'the embeddings of the regions'
            )
        if embed_dims != self.teacher.embed_dims:
            raise ValueError(
                f'the regions have embeddings of the size {embed_dims}, CLIP '
                f'{self.teacher.name} has {self.teacher.embed_dims}: another '
                'one made them'
            )
        if num_groups != len(self.context):
            raise ValueError(
                f'the dataset has {num_groups} groups of regions: set '
                f'num_groups={num_groups} of the model, which has '
                f'{len(self.context)}'
            )

    def forward(
        self,
        labels: Tensor,
        embeddings: Optional[Tensor] = None,
        weights: Optional[Tensor] = None,
        group: int = 0,
        inputs: Optional[Tensor] = None,
        mode: str = 'tensor',
    ) -> Union[Dict[str, Tensor], List[Dict[str, Any]], Tensor]:
        """Return losses of regions, or predictions of regions or crops.

        Args:
            labels (Tensor): (B,) int64: places in the base classes, -1 for
                background, of a loss; in all names, of predictions.
            embeddings (Tensor, optional): (B, D) of regions.
            weights (Tensor, optional): (B,) of regions, for a loss.
            group (int): That of the regions, for a loss. Defaults to 0.
            inputs (Tensor, optional): (B, 3, n, n) uint8 RGB, crops in place
                of embeddings.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``: unit
                embeddings (B, D).
        """
        if embeddings is None:
            assert inputs is not None  # in their place
            embeddings = self.teacher.encode_image(normalize_crops(inputs))
        embeddings = F.normalize(embeddings.float(), dim=-1)
        if mode == 'loss':
            assert weights is not None  # with the regions
            return self.loss(embeddings, labels, weights, group)
        if mode == 'predict':
            return self.predict(embeddings, labels)
        return embeddings

    def embed_base_classes(self, group: int) -> Tensor:
        """Return unit embeddings (C, D), with gradients to one context."""
        features = self.teacher.text_tower.encode(
            self._tokens, self.context[group], self.text_batch_size
        )
        return F.normalize(features, dim=-1)

    def loss(
        self, embeddings: Tensor, labels: Tensor, weights: Tensor, group: int
    ) -> Dict[str, Tensor]:
        """Return the loss of a group's regions.

        Weights are summed over all processes, so that together they have the
        gradient of the whole batch.

        Args:
            embeddings (Tensor): (B, D) of unit norm.
            labels (Tensor): (B,) int64, -1 for background.
            weights (Tensor): (B,).
            group (int): Whose context is to learn.
        """
        classes = self.embed_base_classes(group)
        logits = embeddings @ classes.T / self.temperature
        loss = soft_background_loss(
            logits, labels, weights, reduce_mean(weights.sum())
        )
        is_class = labels >= 0
        correct = (logits.argmax(dim=-1) == labels).sum()
        return dict(
            loss_prompt=loss,
            acc=100 * correct.float() / is_class.sum().clamp(min=1),
        )

    @torch.no_grad()
    def embed_classes(self, names: Sequence[str]) -> Tensor:
        """Return class embeddings (len(names), D) of the ensemble, CPU."""
        return embed_class_names(
            self.teacher,
            names,
            LEARNED,
            contexts=self.context.detach(),
            batch_size=self.text_batch_size,
        )

    def predict(
        self, embeddings: Tensor, labels: Tensor
    ) -> List[Dict[str, Any]]:
        """Classify by learned and, for comparison, by written sentences.

        Args:
            embeddings (Tensor): (B, D) of unit norm.
            labels (Tensor): (B,) int64, places in all names.

        Returns:
            list[dict]: ``label``, ``pred_label``, and ``pred_label_vild``
            and so on of `WRITTEN`.
        """
        known = self._class_embeddings
        for templates in WRITTEN:
            if f'pred_label_{templates}' not in known:
                known[f'pred_label_{templates}'] = embed_class_names(
                    self.teacher, self.names, templates
                )
        if 'pred_label' not in known:
            known['pred_label'] = self.embed_classes(self.names)
        found = dict(label=labels.tolist())
        for key, classes in known.items():
            scores = embeddings @ classes.to(embeddings).T
            found[key] = scores.argmax(dim=-1).tolist()
        return [dict(zip(found, row)) for row in zip(*found.values())]

    def train(self, mode: bool = True) -> 'PromptLearner':
        """Forget the learned class embeddings, which training changes."""
        self._class_embeddings.pop('pred_label', None)
        return super().train(mode)
