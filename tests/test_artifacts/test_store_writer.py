"""Filling a store: interruptions, damage, refusals."""

import errno
import multiprocessing
import os
import resource
import time
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest

from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.store_check import check_shard
from ovd.artifacts.store_plan import StorePlan
from ovd.artifacts.store_writer import ABANDONED_AFTER, EmbeddingStoreWriter

IDS = [9, 2, 5, 7, 1]


def _plan(image_ids=IDS, **kwargs):
    return StorePlan(
        **{
            **dict(
                clip=dict(name='tiny.pt', sha256='c1'),
                proposals=dict(file='p.safetensors', sha256='p1'),
                annotations=dict(file='train.json', sha256='a1'),
                settings=dict(crop_scales=(1.0, 1.5), num_max_proposals=20),
                images_per_shard=2,
                image_ids=image_ids,
                image_keys=[f'train/{i}.jpg' for i in image_ids],
            ),
            **kwargs,
        }
    )


def _item(image_id):
    """Image i has i % 7 boxes: 7 has none."""
    rng = np.random.RandomState(image_id)
    num = image_id % 7
    return dict(
        embeddings=rng.randn(num, 3),
        bboxes=rng.rand(num, 4),
        scores=rng.rand(num),
    )


def _fill(path, shards=None, **kwargs):
    writer = EmbeddingStoreWriter(path, _plan(**kwargs))
    for shard in writer.missing_shards() if shards is None else shards:
        writer.write_shard(
            shard, [_item(i) for i in writer.plan.shard_image_ids(shard)]
        )
    return writer


def _files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_any_order_and_any_interruption_give_the_same_bytes(tmp_path):
    _fill(tmp_path / 'once')
    _fill(tmp_path / 'split', shards=[2])
    _fill(tmp_path / 'split', shards=[0])
    writer = EmbeddingStoreWriter(tmp_path / 'split', _plan())
    assert writer.missing_shards() == [1]
    # What a process leaves that is killed in the middle of a shard.
    left = tmp_path / 'split/.shard-00001.safetensors.x.tmp'
    left.write_bytes(b'half')
    _age(left)
    _fill(tmp_path / 'split', image_ids=sorted(IDS)).remove_leftovers()
    assert _files(tmp_path / 'once') == _files(tmp_path / 'split')


def _age(path, seconds=2 * ABANDONED_AFTER):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_live_writer_keeps_its_temporary_file(tmp_path):
    """Of two runs that fill a store, one ends while the other writes."""
    writer = _fill(tmp_path)
    whole = _files(tmp_path)
    live, dead = (
        tmp_path / f'.shard-00000.safetensors.{name}.tmp'
        for name in ('live', 'dead')
    )
    for path in (live, dead):
        path.write_bytes(b'half')
    _age(live, ABANDONED_AFTER / 2)
    _age(dead)
    writer.remove_leftovers()
    assert _files(tmp_path) == {**whole, live.name: b'half'}


def test_a_temporary_file_may_disappear(tmp_path):
    writer = _fill(tmp_path)
    gone = tmp_path / '.shard-00000.safetensors.x.tmp'
    with mock.patch('pathlib.Path.glob', return_value=[gone]):
        writer.remove_leftovers()


def test_a_failed_write_leaves_no_shard(tmp_path):
    writer = EmbeddingStoreWriter(tmp_path, _plan())
    broken = _item(2)
    broken['embeddings'][1, 2] = np.nan
    with pytest.raises(ValueError, match='image 2: embeddings are not all'):
        writer.write_shard(0, [_item(1), broken])
    broken['embeddings'] = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r'image 2: expected embeddings \(P'):
        writer.write_shard(0, [_item(1), broken])
    with pytest.raises(ValueError, match='has 2 images, got 1 items'):
        writer.write_shard(0, [_item(1)])
    assert [file.name for file in tmp_path.iterdir()] == ['manifest.json']


@pytest.mark.parametrize(
    'change, match',
    [
        (
            dict(clip=dict(name='tiny.pt', sha256='c2')),
            r'clip\.sha256: c1 in the store, c2 now',
        ),
        (
            dict(proposals=dict(file='p.safetensors', sha256='p2')),
            r'proposals\.sha256: p1',
        ),
        (
            dict(settings=dict(crop_scales=(1.0,), num_max_proposals=20)),
            r'settings\.crop_scales: \[1\.0, 1\.5\] in the store, \[1\.0\] '
            r'now',
        ),
        (
            dict(settings=dict(crop_scales=(1.0, 1.5))),
            r'num_max_proposals: 20 in the store, None now',
        ),
        (dict(images_per_shard=3), 'images_per_shard: 2 in the store, 3 now'),
        (dict(image_ids=[1, 2]), 'image_ids: 5 ids, .* in the store, 2 ids'),
    ],
)
def test_other_settings_are_refused_with_the_difference(
    tmp_path, change, match
):
    _fill(tmp_path, shards=[0])
    before = _files(tmp_path)
    with pytest.raises(ValueError, match=match):
        EmbeddingStoreWriter(tmp_path, _plan(**change))
    assert _files(tmp_path) == before


def test_names_of_equal_content_may_differ(tmp_path):
    _fill(tmp_path, shards=[0])
    EmbeddingStoreWriter(
        tmp_path,
        _plan(
            clip=dict(name='/elsewhere/tiny.pt', sha256='c1'), command='other'
        ),
    )


def test_every_difference_is_listed(tmp_path):
    _fill(tmp_path, shards=[0])
    with pytest.raises(ValueError) as error:
        _fill(
            tmp_path,
            proposals=None,
            settings=dict(crop_scales=(1.0, 1.5), dtype='int8'),
        )
    assert str(error.value).splitlines() == [
        f'{tmp_path} was begun with other settings:',
        '  proposals.sha256: p1 in the store, None now',
        '  settings.dtype: float16 in the store, int8 now',
        '  settings.num_max_proposals: 20 in the store, None now',
        'remove it, or choose a new folder',
    ]


def test_a_lost_manifest_is_written_again(tmp_path):
    """By the run that wrote the shards; others refuse them."""
    _fill(tmp_path)
    before = _files(tmp_path)
    (tmp_path / 'manifest.json').unlink()
    with pytest.raises(
        ValueError,
        match='has shards and no manifest.json, .*'
        'shard-00000.safetensors belongs to another store; r',
    ):
        _fill(tmp_path, settings={})
    assert not (tmp_path / 'manifest.json').exists()
    assert _fill(tmp_path).missing_shards() == []
    assert _files(tmp_path) == before


@pytest.mark.parametrize(
    'content',
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:100],
        lambda whole: b'',
        lambda whole: b'x' * len(whole),
        lambda whole: whole + b'x',
    ],
)
def test_damaged_shards_are_computed_again(tmp_path, content):
    _fill(tmp_path / 'sound')
    writer = _fill(tmp_path / 'store')
    shard = tmp_path / 'store/shard-00001.safetensors'
    whole = shard.read_bytes()
    for _ in range(2):  # the writer that has seen it whole, and a new one
        assert writer.missing_shards() == [] and writer.damaged == {}
        shard.write_bytes(content(whole))
        for _ in range(2):
            assert writer.missing_shards() == [1]
            assert list(writer.damaged) == [1]
            assert 'shard-00001.safetensors is damaged' in writer.damaged[1]
        shard.write_bytes(whole)
        writer = EmbeddingStoreWriter(tmp_path / 'store', _plan())
    shard.write_bytes(content(whole))
    assert _fill(tmp_path / 'store').missing_shards() == []
    assert _files(tmp_path / 'sound') == _files(tmp_path / 'store')


def test_a_shard_under_another_name_is_computed_again(tmp_path):
    writer = _fill(tmp_path)
    shards = [tmp_path / f'shard-0000{k}.safetensors' for k in (0, 1)]
    shards[0].write_bytes(shards[1].read_bytes())
    assert writer.missing_shards() == [0]
    assert 'is shard 1 under another name' in writer.damaged[0]


def test_an_unreadable_shard_is_computed_again(tmp_path):
    writer = _fill(tmp_path)
    assert writer.missing_shards() == []
    for error in (PermissionError(errno.EACCES, 'no'), OSError('bad disk')):
        os.utime(tmp_path / 'shard-00002.safetensors')
        with mock.patch('builtins.open', side_effect=error):
            assert writer.missing_shards() == [2]
        assert writer.damaged == {2: str(error)}


def test_a_shard_of_another_store_is_never_overwritten(tmp_path):
    writer = _fill(tmp_path / 'a')
    _fill(tmp_path / 'b', clip=dict(name='other', sha256='c2'))
    shard = tmp_path / 'a/shard-00001.safetensors'
    shard.write_bytes((tmp_path / 'b' / shard.name).read_bytes())
    for _ in range(2):
        with pytest.raises(
            ValueError,
            match='a/shard-00001.safetensors '
            'belongs to another store; remove it, or',
        ):
            writer.missing_shards()


def test_what_was_seen_is_not_opened_again(tmp_path):
    """It is asked five times a second while other processes work."""
    writer = _fill(tmp_path)
    (tmp_path / 'shard-00001.safetensors').write_bytes(b'cut')
    assert writer.missing_shards() == [1]
    with mock.patch('builtins.open', side_effect=AssertionError):
        assert writer.missing_shards() == [1] and writer.damaged


@contextmanager
def _fsync_fails():
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch('os.fsync', side_effect=error):
        yield


@contextmanager
def _files_end_at_300_bytes():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('full_disk', [_fsync_fails, _files_end_at_300_bytes])
def test_disk_full(tmp_path, full_disk):
    """The error names the shard; neither a part nor less than before is."""
    writer = _fill(tmp_path, shards=[0, 2])
    before = _files(tmp_path)
    for shard in (1, 2):
        with full_disk(), pytest.raises(OSError) as error:
            _fill(tmp_path, shards=[shard])
        assert error.value.filename.endswith(f'shard-0000{shard}.safetensors')
        assert _files(tmp_path) == before
    assert writer.missing_shards() == [1]


def test_broken_images_are_checked(tmp_path):
    writer = EmbeddingStoreWriter(tmp_path, _plan())
    items = [_item(i) for i in writer.plan.shard_image_ids(1)]
    with pytest.raises(ValueError, match='broken image 5 has boxes'):
        writer.write_shard(1, items, {5: 'cut off'})
    with pytest.raises(ValueError, match='broken image 9 is not in shard 1'):
        writer.write_shard(1, items, {9: 'cut off'})
    writer.write_shard(1, items, {7: 'cut off'})
    _fill(tmp_path)
    assert EmbeddingStore(tmp_path).broken == {7: 'cut off'}


def _overwrite(writer):
    """Write the shards of a store, of 8 MB each; yield after each one."""
    item = dict(
        embeddings=np.ones((1000, 2048)),
        bboxes=np.ones((1000, 4)),
        scores=np.ones(1000),
    )
    for shard in range(writer.plan.num_shards):
        num = len(writer.plan.shard_image_ids(shard))
        writer.write_shard(shard, [item] * num)
        yield


def _write_for_ever(folder, ready):
    writer = EmbeddingStoreWriter(folder, _plan())
    while True:
        for _ in _overwrite(writer):
            ready.set()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='has no fork')
def test_a_killed_writer_leaves_whole_files_only(tmp_path):
    writer, plan = EmbeddingStoreWriter(tmp_path, _plan()), _plan()
    context = multiprocessing.get_context('fork')
    start = time.perf_counter()
    num_written = len(list(_overwrite(writer)))
    duration = (time.perf_counter() - start) / num_written
    rng, num_leftovers, kills = np.random.RandomState(0), 0, 0
    while kills < 20 or not num_leftovers:
        kills += 1
        assert kills < 200, 'none was killed in the middle of a shard'
        ready = context.Event()
        process = context.Process(
            target=_write_for_ever, args=(tmp_path, ready)
        )
        process.start()
        ready.wait()
        time.sleep(rng.uniform(0, 2 * duration))
        process.kill()  # SIGKILL
        process.join()
        for path in tmp_path.glob('.*.tmp'):
            num_leftovers += 1
            _age(path)
        shards = sorted(tmp_path.glob('shard-*'))
        for shard in shards:
            assert check_shard(shard, plan.digest()).embed_dims == 2048
        assert len(writer.missing_shards()) == plan.num_shards - len(shards)
        assert not writer.damaged
        writer.remove_leftovers()
        assert not list(tmp_path.glob('.*'))
