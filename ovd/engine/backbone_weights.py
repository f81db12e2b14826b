"""``torchvision://`` weights: from a folder, torchvision's cache or the net.

The host's own loader, which this one takes the place of, looks at no folder
of the user's, and without a network it fails with what ``urllib`` says.
"""

import sys
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models

from ovd.artifacts.files import sha256_file
from ovd.artifacts.torch_file import read_torch_file
from ovd.suggest import did_you_mean

PREFIX = 'torchvision://'
WEIGHTS_FOLDER = Path('pretrained/torchvision')


def cache_folder() -> Path:
    """Return where torchvision keeps what it downloads."""
    return Path(torch.hub.get_dir()) / 'checkpoints'


def find_url(name: str) -> str:
    """Return where the weights of a model are published.

    Args:
        name (str): As the host calls them: ``'resnet50'``, or
            ``'resnet50.imagenet1k_v2'``.

    Raises:
        ValueError: If torchvision has no such model.
    """
    urls = {key: url for key, url in get_torchvision_models().items() if url}
    if name not in urls:
        raise ValueError(
            f'torchvision has no weights "{name}"{did_you_mean(name, urls)}'
        )
    return urls[name]


def find_weights(name: str) -> Path:
    """Return the file of a model; download it if need be.

    Args:
        name (str): See :func:`find_url`.

    Raises:
        FileNotFoundError: If it is in no folder and can't be downloaded,
            with the file to put where.
        ValueError: If there is no such model, ``pretrained/torchvision`` has
            another file under its name, or the cache has and the right one
            can't be downloaded.
    """
    url = find_url(name)
    file_name = url.split('/')[-1]
    ours, cached = WEIGHTS_FOLDER / file_name, cache_folder() / file_name
    damage = (
        "is cut off or not torchvision's: its SHA-256 does not begin "
        f'with {_digest(file_name)}'
    )
    if ours.is_file():
        if not _has_digest(ours):
            raise ValueError(
                f'{ours} {damage}; remove it, or get it from {url}'
            )
        return ours
    if cached.is_file() and _has_digest(cached):
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and renamed, so that processes that
        # start together neither write into one file nor read a half one.
        torch.hub.download_url_to_file(
            url, str(cached), _digest(file_name), sys.stderr.isatty()
        )
    except (OSError, RuntimeError) as error:
        if cached.is_file():
            raise ValueError(
                f'{cached} {damage}; downloading it anew failed ({error}): '
                f'put the file {url} there, or at {ours}'
            ) from error
        raise FileNotFoundError(
            f'the weights {PREFIX}{name} are neither at {ours} nor at '
            f'{cached}, and downloading them failed ({error}); put the file '
            f'{url} at {ours}'
        ) from error
    return cached


def _digest(file_name: str) -> Optional[str]:
    """Return the first digits of the SHA-256, which most names end with."""
    match = torch.hub.HASH_REGEX.search(file_name)
    return match[1] if match else None


def _has_digest(path: Path) -> bool:
    digest = _digest(path.name)
    return digest is None or sha256_file(path).startswith(digest)


@CheckpointLoader.register_scheme(prefixes=PREFIX, force=True)
def load_from_torchvision(
    filename: str, map_location: Any = None
) -> Dict[str, Any]:
    """Load the weights that ``torchvision://NAME`` stands for, on the CPU.

    Args:
        filename (str): See :func:`find_url` for NAME.
        map_location (Any): Ignored: models copy weights to where they are.
    """
    return read_torch_file(
        find_weights(filename.removeprefix(PREFIX)), 'weights'
    )
