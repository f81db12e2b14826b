"""Files of CLIP weights: where they are, whose they are, what is in them.

openai-clip's own ``load`` is not used: it fails on plain state dicts, which
this package writes, and knows neither digests nor ``.safetensors``.
"""

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, Tuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ovd.artifacts.files import require_file, sha256_file
from ovd.artifacts.torch_file import read_torch_file
from ovd.artifacts.torchscript_file import read_torchscript
from ovd.suggest import did_you_mean

from . import open_clip_models
from .openai import OPENAI_URLS, download

WEIGHTS_FOLDER = Path('pretrained/clip')
CACHE_FOLDER = Path('~/.cache/clip')
MAKE_MINIATURE = 'python tools/train.py configs/miniature/clip_rn_miniature.py'
# D of the published CLIPs, which tells them apart without their files.
EMBED_DIMS = {
    'RN50': 1024,
    'RN101': 512,
    'RN50x4': 640,
    'RN50x16': 768,
    'RN50x64': 1024,
    'ViT-B/32': 512,
    'ViT-B/16': 512,
    'ViT-L/14': 768,
    'ViT-L/14@336px': 768,
}


def identify_clip(name: str) -> Tuple[Dict[str, str], int]:
    """Return the identity of a CLIP and its embedding size D.

    Of a published one no file is needed, its digest and size are known.

    Args:
        name (str): See :func:`ovd.clip.loading.load_clip`.

    Returns:
        tuple: ``{'name', 'sha256'}`` and D.

    Raises:
        FileNotFoundError: If there is no such name or file.
        ValueError: If the file holds no CLIP.
    """
    if name in OPENAI_URLS:
        return dict(name=name, sha256=published_digest(name)), EMBED_DIMS[name]
    if open_clip_models.is_spec(name):
        digest = open_clip_models.digest(name)
        return dict(name=name, sha256=digest), open_clip_models.embed_dims(
            name
        )
    path = find_weights(name)
    embed_dims = read_state_dict(path)['text_projection'].shape[1]
    return dict(name=str(name), sha256=sha256_file(path)), embed_dims


def published_digest(name: str) -> str:
    """Return the SHA-256 of a published CLIP's file, which its URL holds."""
    return OPENAI_URLS[name].split('/')[-2]


def find_weights(name: str) -> Path:
    """Return the file of a CLIP given by name or path; download if need be.

    The errors are those of :func:`ovd.clip.loading.load_clip`.
    """
    if name in OPENAI_URLS:
        return _find_openai_weights(name)
    if open_clip_models.is_spec(name):
        return open_clip_models.find_weights(name)
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in ('.bin', '.pt', '.pth', '.safetensors'):
        return require_file(
            path,
            'CLIP weights',
            MAKE_MINIATURE
            if path == WEIGHTS_FOLDER / 'miniature.pt'
            else None,
        )
    raise FileNotFoundError(
        f'"{name}" is neither a file nor one of {", ".join(OPENAI_URLS)}, '
        f'nor {open_clip_models.FORM}'
        f'{did_you_mean(str(name), OPENAI_URLS)}'
    )


def _find_openai_weights(name: str) -> Path:
    """Return the local file of a published CLIP, its digest checked."""
    url = OPENAI_URLS[name]
    sha256, file_name = published_digest(name), url.split('/')[-1]
    ours = WEIGHTS_FOLDER / file_name
    if ours.is_file():
        found = sha256_file(ours)
        if found != sha256:
            raise ValueError(
                f'{ours} is not the published {name}: its SHA-256 is '
                f'{found}, expected {sha256}; remove it, or load it as '
                f'./{ours} if it is meant to differ'
            )
        return ours
    cached = CACHE_FOLDER.expanduser() / file_name
    if cached.is_file() and sha256_file(cached) == sha256:
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own, then a rename: processes that start together
        # neither write into one file nor read a half one.
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            os.replace(download(url, folder), cached)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f'the weights of CLIP {name} are neither at {ours} nor at '
            f'{cached}, and downloading them failed ({error}); put the file '
            f'{url} at {ours}'
        ) from error
    return cached


def read_state_dict(path: Path) -> Dict[str, Tensor]:
    """Read the tensors of a CLIP file of any of the three forms."""
    try:
        if path.suffix == '.safetensors' or is_safetensors(path):
            state_dict = load_file(path)
        elif _is_jit_archive(path):
            state_dict = _read_jit_archive(path)
        else:
            state_dict = read_torch_file(path, 'CLIP weights')
    except (RuntimeError, SafetensorError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'{path} is damaged, or no CLIP weights: {error}'
        ) from error
    if not isinstance(state_dict, dict) or 'text_projection' not in state_dict:
        raise ValueError(
            f"{path} is not a state dict of openai-clip's CLIP class: it "
            f'has no entry text_projection'
        )
    return state_dict


def _read_jit_archive(path: Path) -> Dict[str, Tensor]:
    """Read TorchScript; only what was published is run."""
    if sha256_file(path) in map(published_digest, OPENAI_URLS):
        return dict(torch.jit.load(path, map_location='cpu').state_dict())
    return read_torchscript(path)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: a length, then json."""
    with open(path, 'rb') as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], 'little')
    return start[8:] == b'{' and length <= path.stat().st_size - 8


def _is_jit_archive(path: Path) -> bool:
    """Whether a file is TorchScript, the form of the published weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(
            Path(name).name == 'constants.pkl' for name in archive.namelist()
        )
