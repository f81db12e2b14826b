"""Verify, measure or look into a store: the work of embedding_store.py."""

from pathlib import Path
from shlex import quote
from typing import Any, Dict, Optional

import numpy as np

from ovd.artifacts.embedding_store import (
    BOX_KINDS,
    EXTRACT,
    MANIFEST,
    EmbeddingStore,
)
from ovd.artifacts.files import PathLike, atomic_write, require_file
from ovd.artifacts.store_check import check_shard, count_shard
from ovd.artifacts.store_plan import StorePlan, shard_name
from ovd.suggest import check_choice, did_you_mean

from .describe_store import describe_survey
from .store_survey import survey_store

COMMANDS = ('verify', 'stat', 'get')


def run_embedding_store(
    command: str,
    store: PathLike,
    image: Optional[str] = None,
    remove: bool = False,
    retry_broken: bool = False,
    out: Optional[PathLike] = None,
) -> bool:
    """Do what the command line asks for.

    Args:
        command (str): One of `COMMANDS`.
        store (PathLike): Folder of the store.
        image (str, optional): For ``get``, see :func:`find_image`.
        remove (bool): For ``verify``: remove damaged shards.
        retry_broken (bool): For ``verify``: remove shards with images that
            could not be read.
        out (PathLike, optional): For ``get``: ``.npz`` to write.

    Returns:
        bool: Whether the store is complete and sound.

    Raises:
        FileNotFoundError: If there is no store.
        ValueError: If an option does not fit the command, or the store is
            damaged.
    """
    check_choice(command, COMMANDS, 'command')
    for name, value, owner in (
        ('IMAGE', image, 'get'),
        ('--out', out, 'get'),
        ('--remove', remove, 'verify'),
        ('--retry-broken', retry_broken, 'verify'),
    ):
        if value not in (None, False) and command != owner:
            raise ValueError(f'{name} is for {owner} alone')
    require_file(
        Path(store) / MANIFEST, 'manifest of the embedding store', EXTRACT
    )
    if command == 'verify':
        return verify_store(store, remove, retry_broken)
    if command == 'stat':
        return print_statistics(store)
    if not image:
        raise ValueError(
            'get needs an IMAGE: its id, "<folder>/<file>" or file name'
        )
    print_image(store, image, out)
    return True


def verify_store(
    store: PathLike, remove: bool = False, retry_broken: bool = False
) -> bool:
    """Read each byte of a store and print what is wrong with it.

    Args:
        store (PathLike): Folder of the store.
        remove (bool): Remove shards that are damaged, so that the next run
            computes them, and just them. Those of other stores stay, and
            those that cannot be read: they may be sound.
        retry_broken (bool): Remove those with images that could not be read,
            so that the next run tries again.

    Returns:
        bool: Whether the store is complete and sound.
    """
    survey = survey_store(store, check_shard)
    found = describe_survey(survey)
    print(*found.lines(str(store)), sep='\n')
    removed = [*survey.damaged] if remove else []
    if retry_broken:
        removed += [
            Path(store) / shard_name(shard.shard)
            for shard in survey.sound
            if shard.broken
        ]
    if not (found.faults or removed):
        print('complete and sound')
        if any(shard.broken for shard in survey.sound):
            print(
                'once the broken images are mended, --retry-broken has '
                'them tried again'
            )
        return True
    for path in removed:
        try:
            path.unlink(missing_ok=True)
            print(f'removed {path}')
        except OSError as error:
            print(f'{path} could not be removed ({error.strerror})')
    if survey.damaged and not remove:
        print(
            'damaged shards are removed with: python '
            f'tools/embedding_store.py verify {quote(str(store))} '
            '--remove'
        )
    print(f'resume with: {survey.resume}')
    return False


def print_statistics(store: PathLike) -> bool:
    """Print what a store has, without reading its embeddings."""
    found = describe_survey(survey_store(store, count_shard))
    print(*found.lines(str(store)), sep='\n')
    return not found.faults


def print_image(
    store: PathLike, image: str, out: Optional[PathLike] = None
) -> None:
    """Print the boxes of an image, and write them with their embeddings.

    Args:
        store (PathLike): Folder of the store.
        image (str): See :func:`find_image`.
        out (PathLike, optional): ``.npz`` to write.
    """
    if out is not None and Path(out).suffix != '.npz':
        raise ValueError(f'--out must end in .npz, got {out}')
    opened = EmbeddingStore(store, partial=True)
    image_id = find_image(opened.manifest, image)
    item: Dict[str, Any] = opened.get(image_id)
    key = opened.manifest.image_keys[opened.manifest.image_ids.index(image_id)]
    shape = 'x'.join(map(str, item['embeddings'].shape))
    print(f'{key} (id {image_id}): {shape} embeddings')
    reason = opened.why_broken(image_id)
    if reason is not None:
        print(f'it could not be read: {reason}')
    norms = np.linalg.norm(item['embeddings'].astype(np.float32), axis=1)
    print(f'{"x1":>8}{"y1":>8}{"x2":>8}{"y2":>8}{"score":>8}{"norm":>8}  kind')
    for box, score, norm, kind in zip(
        item['bboxes'], item['scores'], norms, item['kinds']
    ):
        print(
            *(f'{value:8.1f}' for value in box),
            f'{score:8.4f}{norm:8.4f}  {BOX_KINDS[kind]}',
            sep='',
        )
    if out is not None:
        with atomic_write(out) as file:
            np.savez(file, **item)
        print(f'written to {out}')


def find_image(plan: StorePlan, image: str) -> int:
    """Return the id of an image of a store.

    Args:
        plan (StorePlan): What the store holds.
        image (str): Its id, ``<folder>/<file>``, or file name.

    Raises:
        ValueError: If there is none, with near names, or if several have
            that file name.
    """
    # Alone isdecimal() takes the digits of other scripts, too
    if image.isascii() and image.isdecimal() and int(image) in plan.image_ids:
        return int(image)
    found = {
        key: image_id
        for image_id, key in zip(plan.image_ids, plan.image_keys)
        if image in (key, key.rpartition('/')[2])
    }
    if len(found) > 1:
        raise ValueError(f'{", ".join(found)} are called {image}: which?')
    if not found:
        names = (
            plan.image_keys
            if '/' in image
            else [key.rpartition('/')[2] for key in plan.image_keys]
        )
        raise ValueError(
            f'the store has no image {image}, which may be an '
            'id, "<folder>/<file>" or a file name'
            f'{did_you_mean(image, names)}'
        )
    return next(iter(found.values()))
