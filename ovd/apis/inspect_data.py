"""Look into the files of the data tree, quickly, and change nothing."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.embedding_store import MANIFEST, EmbeddingStore
from ovd.artifacts.files import sha256_file
from ovd.artifacts.proposals import count_proposals
from ovd.artifacts.store_plan import StorePlan, find_missing_shards
from ovd.artifacts.torch_file import read_torch_file

from .inspect_annotations import (
    Incomplete,
    count_in_words,
    inspect_annotations,
)
from .tree_entry import Entry

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')
# A pickle has no header: it says how much it holds when it is all read.
MAX_PICKLE = 256 * 10**6
THERE, MISSING, INCOMPLETE, DAMAGED = (
    'there',
    'missing',
    'incomplete',
    'damaged',
)


@dataclass(frozen=True)
class Finding:
    """What was found in the place of an entry.

    Args:
        entry (Entry): What belongs there; its path has no placeholder.
        state (str): `THERE`, `MISSING`, `INCOMPLETE` or `DAMAGED`.
        text (str): What is in it, or what is wrong with it.
        size (int, optional): In bytes; None for folders of images.
    """

    entry: Entry
    state: str
    text: str = ''
    size: Optional[int] = None


def inspect_entry(root: Path, dataset: str, entry: Entry) -> Finding:
    """Look into one file or folder; what is wrong with it is a finding.

    Args:
        root (Path): Folder that holds `data/` and `pretrained/`.
        dataset (str): Folder of the dataset, from there.
        entry (Entry): Its path is from there, too.
    """
    path = root / entry.path
    try:
        if not path.exists():
            return _inspect_missing(path, entry)
        if path.is_dir() != entry.is_folder:
            expected = 'folder' if entry.is_folder else 'file'
            raise ValueError(f'{path} should be a {expected}')
        text = INSPECTORS[entry.kind](path, entry, root / dataset)
        return Finding(entry, THERE, text, _size(path, entry))
    except Incomplete as error:
        return Finding(entry, INCOMPLETE, str(error))
    except (ValueError, OSError) as error:
        return Finding(entry, DAMAGED, str(error))


def _inspect_missing(path: Path, entry: Entry) -> Finding:
    if path.is_symlink():
        raise ValueError(
            f'{path} is a link to {os.readlink(path)}, which does not exist'
        )
    if entry.kind == 'clip':
        from ovd.clip.weights import CACHE_FOLDER

        cached = CACHE_FOLDER.expanduser() / path.name
        if cached.is_file():
            text = _inspect_clip(cached, entry, cached.parent)
            return Finding(
                entry, THERE, f"{text}, in CLIP's cache", cached.stat().st_size
            )
    return Finding(entry, MISSING)


def _size(path: Path, entry: Entry) -> Optional[int]:
    """Return bytes; of 100,000 images it would take minutes on some disks."""
    if not entry.is_folder:
        return path.stat().st_size
    if entry.kind == 'store':
        return sum(item.stat().st_size for item in path.iterdir())
    return None


def _inspect_images(path: Path, entry: Entry, _: Path) -> str:
    number = sum(
        name.lower().endswith(IMAGE_SUFFIXES)
        for _, _, names in os.walk(path)
        for name in names
    )
    if not number:
        raise Incomplete(f'{path} has no images')
    return count_in_words(number, 'images', entry.images)


def _inspect_folder(path: Path, entry: Entry, _: Path) -> str:
    number = sum(len(names) for _, _, names in os.walk(path))
    if not number:
        raise Incomplete(f'{path} is empty')
    return f'{number:,} files'


def _inspect_list(path: Path, entry: Entry, _: Path) -> str:
    lines = path.read_text(encoding='utf-8').splitlines()
    return f'{sum(bool(line.strip()) for line in lines):,} names'


def _inspect_file(path: Path, entry: Entry, _: Path) -> str:
    if not path.stat().st_size:
        raise ValueError(f'{path} is empty')
    return entry.note


def _inspect_array(path: Path, entry: Entry, _: Path) -> str:
    try:
        rows = len(np.load(path, mmap_mode='r', allow_pickle=False))
    except (EOFError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} is damaged or no array with rows: {error}'
        ) from error
    return f'{rows:,} rows'


def _inspect_class_embeddings(path: Path, entry: Entry, _: Path) -> str:
    found = ClassEmbeddings.load(path)
    return (
        f'{len(found.names):,} classes, {found.embeddings.shape[1]} '
        f'numbers each, templates {found.templates}, '
        f'CLIP {found.clip["name"]}'
    )


def _inspect_proposals(path: Path, entry: Entry, _: Path) -> str:
    if path.suffix == '.pkl' and path.stat().st_size > MAX_PICKLE:
        return 'a pickle too large to look into'
    images, boxes = count_proposals(path)
    return f'{boxes:,} boxes of {images:,} images'


def _inspect_store(path: Path, entry: Entry, _: Path) -> str:
    if not (path / MANIFEST).is_file():
        raise ValueError(f'{path} has no {MANIFEST}')
    plan = StorePlan.load(path / MANIFEST)
    missing = len(find_missing_shards(path, plan.num_shards))
    if missing:
        raise Incomplete(
            f'{path} lacks {missing:,} of {plan.num_shards:,} shards; resume '
            f'with: {plan.command or entry.origin}'
        )
    store = EmbeddingStore(path)
    # A shard that is cut off does not open
    broken = f' ({len(store.broken):,} broken)' if store.broken else ''
    return (
        f'{len(store):,} images{broken} in {plan.num_shards:,} shards, '
        f'{store.embed_dims} numbers each, CLIP {store.clip["name"]}'
    )


def _inspect_clip(path: Path, entry: Entry, _: Path) -> str:
    from ovd.clip.openai import OPENAI_URLS
    from ovd.clip.weights import published_digest

    name = next(
        name
        for name, url in OPENAI_URLS.items()
        if url.endswith(f'/{path.name}')
    )
    if sha256_file(path) != published_digest(name):
        raise ValueError(
            f'{path} is not the published CLIP {name}: its SHA-256 is another'
        )
    return f'the published CLIP {name}'


def _inspect_weights(path: Path, entry: Entry, _: Path) -> str:
    # torchvision puts the first digits of the digest into the name
    match = re.search(r'-([0-9a-f]{8})\.pth$', path.name)
    if match and not sha256_file(path).startswith(match[1]):
        raise ValueError(
            f'{path} is cut off or another file: its SHA-256 '
            f'does not begin with {match[1]}'
        )
    content = read_torch_file(path, 'weights')
    if isinstance(content, dict):
        return f'{len(content.get("state_dict", content)):,} entries'
    return f'{type(content).__name__} {tuple(getattr(content, "shape", ()))}'


INSPECTORS: dict[str, Callable[[Path, Entry, Path], str]] = {
    'images': _inspect_images,
    'folder': _inspect_folder,
    'list': _inspect_list,
    'file': _inspect_file,
    'array': _inspect_array,
    'annotations': inspect_annotations,
    'split': inspect_annotations,
    'class_embeddings': _inspect_class_embeddings,
    'proposals': _inspect_proposals,
    'store': _inspect_store,
    'clip': _inspect_clip,
    'weights': _inspect_weights,
}
