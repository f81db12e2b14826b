"""Embedding stores: plan, shards that resume, reading, refusals."""
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from ovd.artifacts.embedding_store import EmbeddingStore, EmbeddingStoreWriter
from ovd.artifacts.store_plan import StorePlan

IDS = [9, 2, 5, 7, 1]


def _keys(image_ids):
    return [f'train/{image_id}.jpg' for image_id in image_ids]


def _plan(image_ids=IDS, **kwargs):
    return StorePlan(**{
        **dict(
            clip=dict(name='tiny.pt', sha256='c1'),
            proposals=dict(file='p.safetensors', sha256='p1'),
            annotations=dict(file='train.json', sha256='a1'),
            settings=dict(crop_scales=(1.0, 1.5), num_max_proposals=20),
            images_per_shard=2,
            image_ids=image_ids,
            image_keys=_keys(image_ids),
            command='python tools/train.py extractor.py'),
        **kwargs
    })


def _item(image_id):
    """Image i has i proposals, 7 has none; of numbers that only i has."""
    rng = np.random.RandomState(image_id)
    num = image_id % 7
    return dict(
        embeddings=rng.randn(num, 3).astype(np.float32),
        bboxes=rng.rand(num, 4).astype(np.float32),
        scores=rng.rand(num).astype(np.float32))


def _fill(path, shards=None, **kwargs):
    writer = EmbeddingStoreWriter(path, _plan(**kwargs))
    for shard in writer.missing_shards() if shards is None else shards:
        ids = writer.plan.shard_image_ids(shard)
        writer.write_shard(shard, [_item(image_id) for image_id in ids])
    return writer


def _files(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def _check(store):
    for image_id in IDS:
        found, item = store.get(image_id), _item(image_id)
        assert found['embeddings'].dtype == np.float16
        np.testing.assert_array_equal(
            found['embeddings'], item['embeddings'].astype(np.float16))
        np.testing.assert_array_equal(found['bboxes'], item['bboxes'])
        np.testing.assert_array_equal(found['scores'], item['scores'])


def test_round_trip_in_id_order(tmp_path):
    writer = _fill(tmp_path / 'store')
    assert [writer.plan.shard_image_ids(k) for k in range(3)] == \
        [[1, 2], [5, 7], [9]]
    store = EmbeddingStore(tmp_path / 'store')
    _check(store)
    assert len(store) == 5 and store.embed_dims == 3
    assert store.clip == dict(name='tiny.pt', sha256='c1')
    assert store.manifest.settings['crop_scales'] == [1.0, 1.5]


def test_any_order_and_any_interruption_give_the_same_bytes(tmp_path):
    _fill(tmp_path / 'once')
    _fill(tmp_path / 'split', shards=[2])
    _fill(tmp_path / 'split', shards=[0])
    writer = EmbeddingStoreWriter(tmp_path / 'split', _plan())
    assert writer.missing_shards() == [1]
    # What a process leaves that is killed in the middle of a shard.
    (tmp_path / 'split/.shard-00001.safetensors.x.tmp').write_bytes(b'half')
    _fill(tmp_path / 'split', image_ids=sorted(IDS)).remove_leftovers()
    assert _files(tmp_path / 'once') == _files(tmp_path / 'split')


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


@pytest.mark.parametrize('change, match', [
    (dict(clip=dict(name='tiny.pt', sha256='c2')),
     r'clip\.sha256: c1 in the store, c2 now'),
    (dict(proposals=dict(file='p.safetensors', sha256='p2')),
     r'proposals\.sha256: p1'),
    (dict(settings=dict(crop_scales=(1.0, ), num_max_proposals=20)),
     r'settings\.crop_scales: \[1\.0, 1\.5\] in the store, \[1\.0\] now'),
    (dict(settings=dict(crop_scales=(1.0, 1.5))),
     r'num_max_proposals: 20 in the store, None now'),
    (dict(images_per_shard=3), 'images_per_shard: 2 in the store, 3 now'),
    (dict(image_ids=[1, 2]), 'image_ids: 5 ids, .* in the store, 2 ids'),
])
def test_other_settings_are_refused_with_the_difference(
        tmp_path, change, match):
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
            clip=dict(name='/elsewhere/tiny.pt', sha256='c1'),
            command='other'))


def test_plan_checks():
    with pytest.raises(ValueError, match='train.json has an image id twice'):
        _plan(image_ids=[1, 2, 1])
    with pytest.raises(ValueError, match='must be positive, got 0'):
        _plan(images_per_shard=0)
    assert _plan(image_ids=[]).num_shards == 0


def test_incomplete_store_says_how_many_and_how_to_go_on(tmp_path):
    _fill(tmp_path, shards=[1])
    with pytest.raises(
            ValueError,
            match='2 of 3 shards are missing; resume with: python '
            'tools/train.py extractor.py'):
        EmbeddingStore(tmp_path)


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
    (tmp_path / 'store/manifest.json').unlink()
    with pytest.raises(ValueError, match='has shards and no manifest.json'):
        EmbeddingStoreWriter(tmp_path / 'store', _plan())


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
            r'val/5.jpg \(id 5\); it has those of train.json'):
        store.check_covers(images)


def test_shards_that_are_damaged_or_of_another_store_are_named(tmp_path):
    _fill(tmp_path / 'a')
    _fill(tmp_path / 'b', clip=dict(name='other', sha256='c2'))
    shard = tmp_path / 'a/shard-00001.safetensors'
    shard.write_bytes((tmp_path / 'b' / shard.name).read_bytes())
    with pytest.raises(ValueError, match='00001.* belongs to another store'):
        EmbeddingStore(tmp_path / 'a').get(5)
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match='damaged(.|\n)*remove shard-00001'):
        EmbeddingStore(tmp_path / 'a').get(5)


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
