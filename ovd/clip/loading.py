"""A CLIP by name or file, as one frozen model with its digest."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Dict, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from ovd.artifacts.files import sha256_file
from ovd.suggest import check_choice

from . import open_clip_models
from .compiled_tower import CompiledTower
from .image_tower import ImageTower
from .open_clip_models import VOCAB_SIZE
from .openai import build_model
from .text_tower import TextTower
from .weights import find_weights, read_state_dict

# RGB in [0, 1], as in openai-clip's own transform
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PRECISIONS = {
    'fp32': torch.float32,
    'bf16': torch.bfloat16,
    'fp16': torch.float16,
}


@dataclass(frozen=True)
class LoadedCLIP:
    """A CLIP that is ready to embed texts and images.

    Args:
        model (nn.Module): In eval mode, without gradients; of openai-clip's
            class or open_clip's.
        name (str): What the user asked for: a published name or a path.
        sha256 (str): Digest of the file that the weights come from; of one
            of open_clip's, also of its activation, heads and image transform.
        precision (str): That of its matrices. Defaults to ``'fp32'``.
        image_mean (tuple[float]): Of the RGB that its image tower takes.
        image_std (tuple[float]): Likewise.
        compiled_for (int, optional): Size of the batches that the image
            tower is compiled for, see
            :class:`~ovd.clip.compiled_tower.CompiledTower`; None compiles
            nothing.
    """

    model: nn.Module
    name: str
    sha256: str
    precision: str = 'fp32'
    image_mean: Tuple[float, ...] = CLIP_MEAN
    image_std: Tuple[float, ...] = CLIP_STD
    compiled_for: Optional[int] = None

    @property
    def identity(self) -> Dict[str, str]:
        """``{'name', 'sha256'}``, what artefacts store of their CLIP."""
        return {'name': self.name, 'sha256': self.sha256}

    @property
    def device(self) -> torch.device:
        """Device that the model lies on."""
        return self.model.logit_scale.device

    @cached_property
    def text_tower(self) -> TextTower:
        """What encodes tokens."""
        return TextTower(self.model)

    @cached_property
    def image_tower(self) -> Union[ImageTower, CompiledTower]:
        """What encodes images."""
        tower = ImageTower(self.model)
        if self.compiled_for is None:
            return tower
        return CompiledTower(tower, self.compiled_for)

    @property
    def embed_dims(self) -> int:
        """D, the size of the embeddings of texts and images."""
        return self.text_tower.embed_dims

    @property
    def image_size(self) -> int:
        """Side of the square images that the image tower takes, in pixels."""
        visual = self.model.visual
        size = getattr(visual, 'input_resolution', None) or visual.image_size
        return size if isinstance(size, int) else size[0]

    def encode_image(self, images: Tensor) -> Tensor:
        """Return the features (B, D) of images, float32, not normalised.

        Args:
            images (Tensor): (B, 3, n, n) float32 RGB, less ``image_mean``,
                by ``image_std``.
        """
        return self.image_tower.encode(images, PRECISIONS[self.precision])


def load_clip(
    name: str,
    device: Union[str, torch.device] = 'cpu',
    precision: str = 'fp32',
) -> LoadedCLIP:
    """Load a CLIP by its name or from a file.

    Args:
        name (str): A name of ``clip.available_models()``, looked for in
            ``pretrained/clip``, then in CLIP's own cache, then downloaded;
            the path of a state dict, a JIT archive or a ``.safetensors``;
            or ``open_clip:NAME/TAG`` or ``open_clip:NAME/FILE``.
        device (str | torch.device): Where to put it. Defaults to ``'cpu'``.
        precision (str): ``'fp32'``, ``'bf16'`` or ``'fp16'``, of matrices
            and convolutions; norms stay in float32. Defaults to ``'fp32'``.

    Raises:
        FileNotFoundError: If there is no such name or file, or the name's
            weights are nowhere and can't be downloaded.
        ModuleNotFoundError: If the name asks for open_clip, which is absent.
        ValueError: If the file holds no CLIP, or not the published one, or
            there is no such precision.

    Warns:
        UserWarning: If a file in float32, which published ones are not, may
            be of open_clip: its models need not have QuickGELU.
    """
    check_choice(precision, PRECISIONS, 'precision')
    mean: Tuple[float, ...] = CLIP_MEAN
    std: Tuple[float, ...] = CLIP_STD
    if open_clip_models.is_spec(name):
        # Refuses what ovd can't prepare images for, before any download
        mean, std = open_clip_models.preprocessing(name).values()
        model = open_clip_models.build(name, precision)
        digest = open_clip_models.digest(name)
    else:
        path = find_weights(name)
        model = _build_openai(path)
        round_weights(model, PRECISIONS[precision])
        digest = sha256_file(path)
    model.eval().requires_grad_(False)
    return LoadedCLIP(
        model.to(device), str(name), digest, precision, mean, std
    )


def _build_openai(path: Path) -> nn.Module:
    """Return openai-clip's model with the weights of a file, in float32."""
    state_dict = read_state_dict(path)
    try:
        model = build_model(state_dict)
        # build_model rounds to half precision: load once more, unrounded.
        model.float().load_state_dict(state_dict)
    except (
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        RuntimeError,
    ) as error:
        raise ValueError(
            f"{path} is not a state dict of openai-clip's CLIP class: "
            f'{type(error).__name__}: {error}'
        ) from error
    if model.vocab_size != VOCAB_SIZE:
        raise ValueError(
            f'{path} knows {model.vocab_size} tokens, expected the '
            f"{VOCAB_SIZE} of openai-clip's tokenizer"
        )
    if state_dict['text_projection'].dtype == torch.float32:
        # open_clip's files have the same entries and another activation.
        warnings.warn(
            f"is {path} of openai-clip's class, with QuickGELU? It is taken "
            f'for one; if it is of open_clip, name it '
            f'{open_clip_models.PREFIX}NAME/{path}',
            stacklevel=3,
        )
    return model


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Put matrices and convolutions into ``dtype``; norms stay as they are.

    Those are the weights that openai-clip's ``convert_weights`` rounds.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.MultiheadAttention)):
            module.to(dtype)
        for name in ('text_projection', 'proj'):
            weight = getattr(module, name, None)
            if isinstance(weight, nn.Parameter):
                weight.data = weight.data.to(dtype)
