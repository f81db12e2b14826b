"""A CLIP by name or file, as one frozen float32 model with its digest.

openai-clip's own ``load`` is not used: it fails on plain state dicts, which
this package writes, and knows neither digests nor ``.safetensors``.
"""
import copy
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Sequence, Union

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ovd.artifacts.files import (
    PathLike,
    atomic_write,
    require_file,
    sha256_file,
)
from ovd.artifacts.torch_file import read_torch_file
from ovd.host import repair_pkg_resources
from ovd.suggest import did_you_mean

repair_pkg_resources()  # openai-clip does not import without it
import clip  # noqa: E402
from clip.clip import _MODELS as OPENAI_URLS  # noqa: E402
from clip.clip import _download  # noqa: E402
from clip.model import CLIP, build_model, convert_weights  # noqa: E402

WEIGHTS_FOLDER = Path('pretrained/clip')
CACHE_FOLDER = Path('~/.cache/clip')


@dataclass(frozen=True)
class LoadedCLIP:
    """A CLIP that is ready to embed texts and images.

    Args:
        model (nn.Module): float32, in eval mode, without gradients.
        name (str): What the user asked for: a name of openai-clip or a path.
        sha256 (str): Digest of the file that the weights come from.
    """
    model: nn.Module
    name: str
    sha256: str

    @property
    def identity(self) -> Dict[str, str]:
        """``{'name', 'sha256'}``, what artefacts store of their CLIP."""
        return {'name': self.name, 'sha256': self.sha256}

    @property
    def device(self) -> torch.device:
        """Device that the model lies on."""
        return self.model.logit_scale.device


def load_clip(name: str,
              device: Union[str, torch.device] = 'cpu') -> LoadedCLIP:
    """Load a CLIP by its name or from a file.

    Args:
        name (str): A name of ``clip.available_models()``, looked for in
            ``pretrained/clip``, then in CLIP's own cache, then downloaded;
            or the path of a state dict, a JIT archive or a ``.safetensors``.
        device (str | torch.device): Where to put it. Defaults to ``'cpu'``.

    Raises:
        FileNotFoundError: If there is no such name or file, or the name's
            weights are nowhere and can't be downloaded.
        ValueError: If the file holds no CLIP, or not the published one.
    """
    path = find_weights(name)
    state_dict = _read_state_dict(path)
    try:
        model = build_model(state_dict)
        # build_model rounds to half precision: load once more, unrounded.
        model.float().load_state_dict(state_dict)
    except (AssertionError, AttributeError, IndexError, KeyError,
            RuntimeError) as error:
        raise ValueError(
            f"{path} is not a state dict of openai-clip's CLIP class: "
            f'{type(error).__name__}: {error}') from error
    model.eval().requires_grad_(False)
    return LoadedCLIP(model.to(device), str(name), sha256_file(path))


def find_weights(name: str) -> Path:
    """Return the file of a CLIP given by name or path; download if need be.

    The errors are those of :func:`load_clip`.
    """
    if name in OPENAI_URLS:
        return _find_openai_weights(name)
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in ('.pt', '.pth', '.safetensors'):
        return require_file(path, 'CLIP weights')
    raise FileNotFoundError(
        f'"{name}" is neither a file nor one of {", ".join(OPENAI_URLS)}'
        f'{did_you_mean(str(name), OPENAI_URLS)}')


def _find_openai_weights(name: str) -> Path:
    """Return the local file of a published CLIP, its digest checked."""
    url = OPENAI_URLS[name]
    sha256, file_name = url.split('/')[-2:]
    ours = WEIGHTS_FOLDER / file_name
    if ours.is_file():
        found = sha256_file(ours)
        if found != sha256:
            raise ValueError(
                f'{ours} is not the published {name}: its SHA-256 is '
                f'{found}, expected {sha256}; remove it, or load it as '
                f'./{ours} if it is meant to differ')
        return ours
    cached = CACHE_FOLDER.expanduser() / file_name
    if cached.is_file() and sha256_file(cached) == sha256:
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own, then a rename: processes that start together
        # neither write into one file nor read a half one.
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            os.replace(_download(url, folder), cached)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f'the weights of CLIP {name} are neither at {ours} nor at '
            f'{cached}, and downloading them failed ({error}); put the file '
            f'{url} at {ours}') from error
    return cached


def _read_state_dict(path: Path) -> Dict[str, Tensor]:
    """Read the tensors of a CLIP file of any of the three forms."""
    try:
        if path.suffix == '.safetensors':
            state_dict = load_file(path)
        elif _is_jit_archive(path):
            state_dict = dict(
                torch.jit.load(path, map_location='cpu').state_dict())
        else:
            state_dict = read_torch_file(path, 'CLIP weights')
    except (RuntimeError, SafetensorError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'{path} is damaged, or no CLIP weights: {error}') from error
    if not isinstance(state_dict, dict) or 'text_projection' not in state_dict:
        raise ValueError(
            f"{path} is not a state dict of openai-clip's CLIP class: it "
            f'has no entry text_projection')
    return state_dict


def _is_jit_archive(path: Path) -> bool:
    """Whether a file is TorchScript, the form of the published weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(
            Path(name).name == 'constants.pkl' for name in archive.namelist())


def build_clip(embed_dim: int,
               image_resolution: int,
               vision_layers: Union[int, Sequence[int]],
               vision_width: int,
               transformer_width: int,
               transformer_layers: int,
               vision_patch_size: int = 32,
               context_length: int = 77,
               vocab_size: int = 49408) -> CLIP:
    """Build a CLIP with random weights (float32, in training mode).

    The number of heads is width / 64 in both towers, as a loader infers it.

    Args:
        embed_dim (int): D, size of the joint embedding.
        image_resolution (int): Side of the square input in pixels: a
            multiple of 32 for a ResNet, of the patch size for a ViT.
        vision_layers (int | Sequence[int]): Blocks of a ViT, or of the four
            stages of a ModifiedResNet.
        vision_width (int): Channels of the image tower; a multiple of 64 for
            a ViT, an even number for a ResNet.
        transformer_width (int): Width of the text tower, a multiple of 64.
        transformer_layers (int): Blocks of the text tower.
        vision_patch_size (int): Of a ViT. Defaults to 32.
        context_length (int): Tokens per text. Defaults to 77.
        vocab_size (int): Defaults to 49408, that of CLIP's tokenizer.

    Raises:
        ValueError: If a saved file would not load again as this model.
    """
    is_vit = isinstance(vision_layers, int)
    step = vision_patch_size if is_vit else 32
    for what, value, divisor in (
        ('image_resolution', image_resolution, step),
        ('vision_width', vision_width, 64 if is_vit else 2),
        ('transformer_width', transformer_width, 64)):
        if value <= 0 or value % divisor:
            raise ValueError(
                f'{what} must be a positive multiple of {divisor}, got '
                f'{value}')
    return CLIP(
        embed_dim=embed_dim,
        image_resolution=image_resolution,
        vision_layers=vision_layers if is_vit else tuple(vision_layers),
        vision_width=vision_width,
        vision_patch_size=vision_patch_size,
        context_length=context_length,
        vocab_size=vocab_size,
        transformer_width=transformer_width,
        transformer_heads=transformer_width // 64,
        transformer_layers=transformer_layers)


def save_clip(model: CLIP, path: PathLike) -> None:
    """Save a CLIP as a state dict with half-precision weights, atomically.

    The precisions are those of the published files: layer norms, batch norms
    and embeddings of tokens and positions stay in float32.

    Raises:
        ValueError: If a weight is not finite in half precision.
    """
    model = copy.deepcopy(model).cpu().float()
    convert_weights(model)
    state_dict = model.state_dict()
    for key, value in state_dict.items():
        if not torch.isfinite(value).all():
            raise ValueError(
                f'{path} is not written: {key} has values that are NaN, or '
                f'beyond the range of half precision')
    with atomic_write(path) as file:
        torch.save(state_dict, file)


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Turn texts into tokens (N, L) int32, padded with zeros to the right.

    Args:
        texts (Sequence[str]): N texts.
        context_length (int): L, start and end token included. Defaults to 77.

    Raises:
        ValueError: If a text needs more than L tokens, with the text.
    """
    try:
        return clip.tokenize(list(texts), context_length=context_length)
    except RuntimeError as error:
        raise ValueError(
            f'{error} tokens: shorten the text, or the class name or template '
            f'that it is made of') from error
