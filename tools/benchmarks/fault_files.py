"""Faults in files: damaged checkpoints, shards and images; bad numbers."""

import json
import math
import os
import re
import shutil
from pathlib import Path
from random import Random

from fault_images import NUM_EMBEDDED, images_job, start_extraction
from fault_processes import Child
from fault_training import (
    World,
    copy_cut,
    expect_end,
    expect_same,
    expect_whole,
    read_last,
    start,
)

from ovd.apis.run_embedding_store import run_embedding_store
from ovd.artifacts.embedding_store import EmbeddingStore

GARBAGE = (b'', b'no image', b'\x89PNG\r\n\x1a\n', bytes(range(256)))


def truncate_checkpoint(world: World, rng: Random, folder: Path) -> None:
    """The last checkpoint is cut off; the one before is taken."""
    path = copy_cut(world, folder)
    os.truncate(path, rng.randrange(path.stat().st_size))
    _expect_refused(folder, path)
    _resume_earlier(world, folder)


def flip_checkpoint(world: World, rng: Random, folder: Path) -> None:
    """A byte of the last checkpoint is another; or it does not matter."""
    path = copy_cut(world, folder)
    _flip(path, rng)
    run = start(folder)
    if run.wait() == 0:
        expect_same(folder, world.folder / 'whole_1')
        return
    _expect_refused(folder, path)
    _resume_earlier(world, folder)


def damage_shard(world: World, rng: Random, folder: Path) -> None:
    """A shard is cut off, or a byte of it is another."""
    whole, store = world.folder / 'store', folder / 'store'
    shutil.copytree(whole, store)
    path = rng.choice(sorted(store.glob('shard-*')))
    if rng.random() < 0.3:
        os.truncate(path, rng.randrange(path.stat().st_size))
    else:
        _flip(path, rng)
    check = Child(lambda: _verify(store), folder / 'verify.txt')
    assert check.wait() == 1, f'not found: {check.output}'
    assert path.name in check.output, f'not named: {check.output}'
    expect_end(start_extraction(world.folder, store, folder))
    for name in os.listdir(whole):
        assert (store / name).read_bytes() == (whole / name).read_bytes(), (
            f'{name} is not what it was'
        )


def _verify(store: Path) -> None:
    raise SystemExit(
        0 if run_embedding_store('verify', store, remove=True) else 1
    )


def corrupt_image(world: World, rng: Random, folder: Path) -> None:
    """An image of the training set can't be read."""
    images = folder / 'images'
    shutil.copytree(world.folder / 'images', images)
    path = _corrupt(images, rng)
    options = images_job(world.folder, images)
    if rng.random() < 0.5:
        expect_end(
            start(folder / 'a', options=options),
            2,
            f'error: {path} cannot be used: ',
        )
    run = start(folder / 'b', options=options, skip_broken=True)
    expect_end(run)
    record = folder / 'b/broken_images.jsonl'
    lines = [*map(json.loads, record.read_text().splitlines())]
    assert [line['image'] for line in lines] == [str(path)], lines
    assert lines[0]['reason'], lines
    assert read_last(folder / 'b')['meta']['iter'] == 40


def corrupt_image_of_store(world: World, rng: Random, folder: Path) -> None:
    """An image to extract embeddings from can't be read."""
    images = folder / 'images'
    shutil.copytree(world.folder / 'images', images)
    path = _corrupt(images, rng, NUM_EMBEDDED)
    name, number = f'images/{path.name}', int(path.stem)
    if rng.random() < 0.5:
        expect_end(
            start_extraction(world.folder, folder / 'a', folder, images),
            2,
            f'error: {name} (id {number}) of ',
        )
    store = folder / 'b'
    expect_end(
        start_extraction(world.folder, store, folder, images, skip_broken=True)
    )
    broken = EmbeddingStore(store).broken
    assert broken.keys() == {number} and broken[number], broken


def spoil_loss(world: World, rng: Random, folder: Path) -> None:
    """A sample makes the loss NaN or infinite."""
    bad = rng.randrange(40)
    value = rng.choice(('nan', 'inf'))
    images = world.folder / 'images'
    run = start(folder, options=images_job(world.folder, images, bad, value))
    assert run.wait() == 2, run.output[-1500:]
    found = re.search(
        r'training stops at iteration (\d+): loss is '
        r'(nan|inf)\n',
        run.output,
    )
    assert found, run.output[-1500:]
    step = int(found[1])
    noted = json.loads(
        (folder / f'bad_batch_iter_{step}_rank_0.json').read_text()
    )
    batch = (folder / 'seen_0.txt').read_text().splitlines()[-1].split()[1:]
    assert str(bad) in batch and step <= 10
    assert noted['images'] == [str(images / f'{i}.png') for i in batch]
    expect_whole(folder)
    for path in folder.glob('iter_*.pth'):
        assert int(path.stem[5:]) < step, f'{path} is of after'
    if step > 5:
        weights = read_last(folder)['state_dict'].values()
        assert all(math.isfinite(w.sum()) for w in weights)


def _expect_refused(folder: Path, path: Path) -> None:
    expect_end(start(folder), 2, f'error: checkpoint {path} is damaged (')
    expect_end(start(folder), 2, 'go on from an earlier one with --resume')


def _resume_earlier(world: World, folder: Path) -> None:
    earlier = str(folder / 'iter_15.pth')
    expect_end(start(folder, resume=earlier))
    expect_same(folder, world.folder / 'whole_1')


def _flip(path: Path, rng: Random) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _corrupt(images: Path, rng: Random, among: int = 40) -> Path:
    """Make one of the images no image; return its file."""
    path = images / f'{rng.randrange(among)}.png'
    garbage = rng.choice((None, *GARBAGE))
    if garbage is None:
        path.unlink()
    else:
        path.write_bytes(garbage)
    return path
