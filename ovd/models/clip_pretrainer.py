"""Train a small CLIP from scratch, where no real one can be had.

Shapes: B crops of a batch, C names (background among them), T captions,
L tokens, D embedding size, V tokens that occur in any caption.
"""

import json
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn

from ovd.artifacts.files import PathLike, require_file
from ovd.clip.building import build_clip, save_clip
from ovd.clip.crops import normalize_crops
from ovd.clip.tokenizer import tokenize
from ovd.datasets.captioned_crops import MAKE_CROPS


def contrastive_loss(
    a: Tensor, b: Tensor, labels: Tensor, logit_scale: Tensor
) -> Tensor:
    """Contrast two sets of embeddings (B, D) both ways, by name.

    CLIP's symmetric cross entropy, except that all pairs of one name are
    positives and share the target evenly: with 66 names a batch has many.

    Args:
        a (Tensor): (B, D) of unit norm.
        b (Tensor): (B, D) of unit norm.
        labels (Tensor): (B,) int64, the name of ``a[i]`` and of ``b[i]``.
        logit_scale (Tensor): Multiplies the cosine.
    """
    logits = logit_scale * a @ b.T
    target = (labels[:, None] == labels).float()
    target /= target.sum(dim=1, keepdim=True)
    return (
        F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
    ) / 2


@MODELS.register_module()
class CLIPPretrainer(BaseModel):
    """Train ``clip.model.CLIP`` on crops and captions.

    A caption is a name in a random one of T texts. Crops are contrasted with
    captions, and captions with other captions of the same name: the second
    teaches the text tower in the first iterations what a name is, which
    crops alone take many times longer to do.

    While training, the text tower has only the V tokens and L positions that
    captions use; :meth:`export` puts them into tables of full size.

    Args:
        clip (dict): Arguments of :func:`ovd.clip.building.build_clip`.
        names_file (str): JSON list of the C names in the order of labels.
        captions (list[str]): T texts, with ``{}`` for the name.
        logit_scale (float): Initial multiplier of the cosine, learned from
            there on. Defaults to 14.3.
        text_weight (float): Weight of captions against captions. Defaults
            to 1.
        kwargs: Of mmengine's ``BaseModel``.
    """

    def __init__(
        self,
        clip: dict,
        names_file: str,
        captions: Sequence[str],
        logit_scale: float = 14.3,
        text_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        path = require_file(names_file, 'names of crops', MAKE_CROPS)
        self.names = json.loads(path.read_text(encoding='utf-8'))
        used_tokens, tokens = compact_captions(self.names, captions)
        self.clip_cfg = clip
        self.clip = build_clip(
            **clip,
            vocab_size=len(used_tokens),
            context_length=tokens.shape[-1],
        )
        nn.init.constant_(
            self.clip.logit_scale, torch.tensor(logit_scale).log().item()
        )
        self.text_weight = text_weight
        self.register_buffer('used_tokens', used_tokens)
        self.register_buffer('captions', tokens, persistent=False)
        self._class_embeddings: Optional[Tensor] = None

    def forward(
        self, inputs: Tensor, labels: Tensor, mode: str = 'tensor'
    ) -> Union[Dict[str, Tensor], List[dict], Tensor]:
        """Return losses, predictions or crop embeddings.

        Args:
            inputs (Tensor): (B, 3, n, n) uint8 RGB.
            labels (Tensor): (B,) int64, places in the names.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``: unit
                embeddings (B, D).
        """
        # On the CPU, convolutions are a quarter faster with channels last.
        crops = normalize_crops(
            inputs.contiguous(memory_format=torch.channels_last)
        )
        image_embeddings = F.normalize(self.clip.encode_image(crops), dim=-1)
        if mode == 'loss':
            return self.loss(image_embeddings, labels)
        if mode == 'predict':
            return self.predict(image_embeddings, labels)
        return image_embeddings

    def loss(
        self, image_embeddings: Tensor, labels: Tensor
    ) -> Dict[str, Tensor]:
        """Return both contrastive losses.

        Args:
            image_embeddings (Tensor): (B, D) of unit norm.
            labels (Tensor): (B,) int64.
        """
        pick = torch.randint(
            self.captions.shape[1], (2, len(labels)), device=labels.device
        )
        tokens = self.captions[labels, pick].flatten(0, 1)  # (2B, L)
        texts = F.normalize(self.clip.encode_text(tokens), dim=-1)
        first, second = texts.chunk(2)
        # As in CLIP, a larger scale would make training unstable.
        scale = self.clip.logit_scale.exp().clamp(max=100)
        return dict(
            loss_image_text=contrastive_loss(
                image_embeddings, first, labels, scale
            ),
            loss_text_text=self.text_weight
            * contrastive_loss(first, second, labels, scale),
        )

    def predict(self, image_embeddings: Tensor, labels: Tensor) -> List[dict]:
        """Return ``label`` and ``pred_label`` of each crop, zero-shot."""
        if self._class_embeddings is None:
            self._class_embeddings = self.embed_names()
        pred_labels = (image_embeddings @ self._class_embeddings.T).argmax(1)
        return [
            dict(label=label, pred_label=pred_label)
            for label, pred_label in zip(
                labels.tolist(), pred_labels.tolist(), strict=True
            )
        ]

    @torch.no_grad()
    def embed_names(self) -> Tensor:
        """Return the class embeddings (C, D): the mean over captions."""
        embeddings = torch.stack(
            [
                F.normalize(self.clip.encode_text(tokens), dim=-1).mean(dim=0)
                for tokens in self.captions
            ]
        )
        return F.normalize(embeddings, dim=-1)

    def train(self, mode: bool = True) -> 'CLIPPretrainer':
        """Forget the class embeddings, which training changes."""
        self._class_embeddings = None
        return super().train(mode)

    def export(self, path: PathLike) -> None:
        """Save the CLIP with tables of full size, as openai-clip reads it.

        Tokens and positions that were not trained are zero. The embedding of
        a caption stays the same: the text tower looks only backwards, and
        the end token keeps the largest id.
        """
        full = build_clip(**self.clip_cfg)
        state_dict = self.clip.state_dict()
        for key, rows in (
            ('token_embedding.weight', self.used_tokens),
            ('positional_embedding', torch.arange(self.captions.shape[-1])),
        ):
            table = torch.zeros_like(full.state_dict()[key])
            table[rows.cpu()] = state_dict[key].cpu()
            state_dict[key] = table
        full.load_state_dict(state_dict)
        save_clip(full, path)


def compact_captions(
    names: Sequence[str], captions: Sequence[str]
) -> Tuple[Tensor, Tensor]:
    """Tokenize all captions with the tokens and length that they need.

    Args:
        names (list[str]): C names.
        captions (list[str]): T texts, with ``{}`` for the name.

    Returns:
        tuple[Tensor, Tensor]: The V token ids in use, ascending, int64, and
        captions (C, T, L) int64 as places in those. The order of ids is
        kept, so that the end token is still the largest and padding 0.
    """
    tokens = torch.stack(
        [
            tokenize([caption.format(name) for caption in captions])
            for name in names
        ]
    ).long()
    length = int((tokens != 0).sum(dim=-1).max())
    used_tokens, places = tokens[..., :length].unique(return_inverse=True)
    if used_tokens[0] != 0:  # all captions have one length
        used_tokens = F.pad(used_tokens, (1, 0))
        places = places + 1
    return used_tokens, places
