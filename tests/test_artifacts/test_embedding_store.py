"""Embedding stores: plan, shards that resume, reading, refusals."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from ovd.artifacts.embedding_store import (
    BOX_KINDS,
    EmbeddingStore,
    EmbeddingStoreWriter,
)
from ovd.artifacts.store_plan import StorePlan

IDS = [9, 2, 5, 7, 1]


def _keys(image_ids):
    return [f'train/{image_id}.jpg' for image_id in image_ids]


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
                image_keys=_keys(image_ids),
                command='python tools/train.py extractor.py',
            ),
            **kwargs,
        }
    )


def _item(image_id):
    """Image i has i proposals, 7 has none; of numbers that only i has."""
    rng = np.random.RandomState(image_id)
    num = image_id % 7
    return dict(
        embeddings=rng.randn(num, 3).astype(np.float32),
        bboxes=rng.rand(num, 4).astype(np.float32),
        scores=rng.rand(num).astype(np.float32),
        kinds=rng.randint(0, len(BOX_KINDS), num).astype(np.uint8),
    )


def _fill(path, shards=None, broken=(), **kwargs):
    writer = EmbeddingStoreWriter(path, _plan(**kwargs))
    for shard in writer.missing_shards() if shards is None else shards:
        ids = writer.plan.shard_image_ids(shard)
        writer.write_shard(
            shard,
            [_item(image_id) for image_id in ids],
            {i: f'{i} is cut off' for i in ids if i in broken},
        )
    return writer


def _files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def _check(store):
    for image_id in IDS:
        found, item = store.get(image_id), _item(image_id)
        assert found['embeddings'].dtype == np.float16
        np.testing.assert_array_equal(
            found['embeddings'], item['embeddings'].astype(np.float16)
        )
        np.testing.assert_array_equal(found['bboxes'], item['bboxes'])
        np.testing.assert_array_equal(found['scores'], item['scores'])
        np.testing.assert_array_equal(found['kinds'], item['kinds'])


def test_round_trip_in_id_order(tmp_path):
    writer = _fill(tmp_path / 'store')
    assert [writer.plan.shard_image_ids(k) for k in range(3)] == [
        [1, 2],
        [5, 7],
        [9],
    ]
    store = EmbeddingStore(tmp_path / 'store')
    _check(store)
    assert len(store) == 5 and store.embed_dims == 3
    assert store.clip == dict(name='tiny.pt', sha256='c1')
    assert store.manifest.settings['crop_scales'] == [1.0, 1.5]


def test_int8_gives_unit_float16(tmp_path):
    _fill(tmp_path, settings=dict(dtype='int8'))
    store = EmbeddingStore(tmp_path)
    for image_id in IDS:
        found, item = store.get(image_id), _item(image_id)['embeddings']
        assert found['embeddings'].dtype == np.float16
        np.testing.assert_allclose(found['embeddings'], item, atol=0.02)
        np.testing.assert_allclose(
            np.linalg.norm(found['embeddings'].astype(np.float32), axis=1),
            np.linalg.norm(item, axis=1),
            rtol=1e-3,
        )
    assert store.embed_dims == 3


def test_broken_images_of_all_shards(tmp_path):
    _fill(tmp_path, broken=[7])
    store = EmbeddingStore(tmp_path)
    assert store.broken == {7: '7 is cut off'}
    assert store.get(7)['embeddings'].shape == (0, 3)
    # They are no part of what a store is: another run may read them.
    assert EmbeddingStoreWriter(tmp_path, _plan()).missing_shards() == []


def test_incomplete_store_says_how_many_and_how_to_go_on(tmp_path):
    _fill(tmp_path, shards=[1])
    with pytest.raises(
        ValueError,
        match='2 of 3 shards are missing; resume with: python '
        'tools/train.py extractor.py',
    ):
        EmbeddingStore(tmp_path)


def test_a_part_of_a_store(tmp_path):
    _fill(tmp_path, shards=[1], broken=[7])
    store = EmbeddingStore(tmp_path, partial=True)
    np.testing.assert_array_equal(store.get(5)['scores'], _item(5)['scores'])
    assert store.why_broken(5) is None
    assert store.why_broken(7) == '7 is cut off'
    for image_id in (1, 9):
        with pytest.raises(
            FileNotFoundError,
            match='safetensors is missing; '
            'resume with: python tools/train.py extractor.py',
        ):
            store.get(image_id)


def test_missing_or_foreign_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match='make it with: python'):
        EmbeddingStore(tmp_path / 'none')
    (tmp_path / 'manifest.json').write_text('{"format": "x"}')
    with pytest.raises(ValueError, match="is of format 'x'"):
        EmbeddingStore(tmp_path)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(ValueError, match='manifest.json is damaged'):
        EmbeddingStore(tmp_path)
    _fill(tmp_path / 'store')
    manifest = tmp_path / 'store/manifest.json'
    text = manifest.read_text()
    for old, new in (
        ('"sha256": "c1"', '"sha256": "c2"'),
        ('train/5.jpg', 'train/4.jpg'),
        ('1.5', '1.6'),
    ):
        assert text.count(old) == 1
        manifest.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match='another digest than it says'):
            EmbeddingStore(tmp_path / 'store')


def test_unknown_images_are_named(tmp_path):
    _fill(tmp_path)
    store = EmbeddingStore(tmp_path)
    for image_id in (0, 3, 10):
        with pytest.raises(KeyError, match=f'image {image_id} is not in'):
            store.get(image_id)
    store.check_covers(dict(zip(IDS, _keys(IDS))))
    store.check_covers({})
    # One has another id, one the id of another image.
    images = {1: 'train/1.jpg', 10: 'train/2.jpg', 5: 'val/5.jpg'}
    with pytest.raises(
        ValueError,
        match=r'lacks 2 of the 3 images asked for: train/2.jpg \(id 10\), '
        r'val/5.jpg \(id 5\); it has those of train.json',
    ):
        store.check_covers(images)


def test_shards_that_are_damaged_or_of_another_store_are_named(tmp_path):
    _fill(tmp_path / 'a')
    _fill(tmp_path / 'b', clip=dict(name='other', sha256='c2'))
    shard = tmp_path / 'a/shard-00001.safetensors'
    shard.write_bytes((tmp_path / 'b' / shard.name).read_bytes())
    with pytest.raises(
        ValueError,
        match='00001.* belongs to another store; '
        'remove it and resume with: python tools/train.py ext',
    ):
        EmbeddingStore(tmp_path / 'a').get(5)
    shard.write_bytes(shard.read_bytes()[:-1])
    match = 'damaged(.|\n)*remove it and resume with: python tools/train.py e'
    store = EmbeddingStore(tmp_path / 'a')
    with pytest.raises(ValueError, match=match):
        store.get(5)
    # Before a run, though all that is asked for is in another shard
    with pytest.raises(ValueError, match=match):
        store.check_covers({1: 'train/1.jpg'})


def test_few_open_shards_suffice(tmp_path):
    _fill(tmp_path)
    store = EmbeddingStore(tmp_path, max_open=1)
    _check(store)
    assert len(store._open) == 1


def _read(store, image_id):
    return store.get(image_id)['scores']


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_an_open_store(tmp_path, method):
    _fill(tmp_path)
    store = EmbeddingStore(tmp_path)
    _check(store)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = list(pool.map(_read, [store] * len(IDS), IDS))
    for image_id, scores in zip(IDS, found):
        np.testing.assert_array_equal(scores, _item(image_id)['scores'])


def test_a_pickled_store_takes_no_open_shards_along(tmp_path):
    _fill(tmp_path)
    store = EmbeddingStore(tmp_path)
    store.get(1)
    assert not pickle.loads(pickle.dumps(store))._open
