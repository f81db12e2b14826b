"""Each byte of a shard is checked, and its place in the store."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.proposals import save_proposals
from ovd.artifacts.store_check import ShardContent, check_shard, count_shard
from ovd.artifacts.store_plan import StorePlan
from ovd.artifacts.tensor_file import TensorFile, write_tensors


def make_store(folder, crop_scales=(1.0, 1.5), **settings):
    """Write images 0 to 4, two a shard, image i with i embeddings of 3.

    Their boxes are proposals but for a true one; image 0 can't be read.
    """
    plan = StorePlan(
        dict(name='RN50', sha256='0' * 64),
        dict(file='p.pkl', sha256='1'),
        dict(file='a.json', sha256='2'),
        dict(crop_scales=crop_scales, **settings),
        2,
        list(range(5)),
        [f'train/{i}.jpg' for i in range(5)],
    )
    writer = EmbeddingStoreWriter(folder, plan)
    for shard in range(3):
        writer.write_shard(
            shard,
            [
                dict(
                    embeddings=np.ones((i, 3)),
                    bboxes=np.ones((i, 4)),
                    scores=np.ones(i),
                    kinds=np.arange(i) == 0,
                )
                for i in plan.shard_image_ids(shard)
            ],
            {0: 'cut off'} if shard == 0 else None,
        )
    return plan


@pytest.fixture
def plan(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def shard(plan, tmp_path):
    return tmp_path / 'shard-00001.safetensors'


@pytest.mark.parametrize('look', [check_shard, count_shard])
@pytest.mark.parametrize('dtype', ['float16', 'int8'])
def test_sound_shards(tmp_path, look, dtype):
    plan = make_store(tmp_path, dtype=dtype)
    paths = [tmp_path / f'shard-0000{k}.safetensors' for k in range(3)]
    found = [look(path, plan.digest()) for path in paths]
    assert found == [look(path) for path in paths]
    none = dict(jittered=0, image=0)
    assert found == [
        ShardContent(
            k,
            boxes,
            dict(proposal=proposal, ground_truth=truth, **none),
            3,
            dtype,
            broken,
            path.stat().st_size,
        )
        for k, path, boxes, proposal, truth, broken in (
            (0, paths[0], (0, 1), 0, 1, {0: 'cut off'}),
            (1, paths[1], (2, 3), 3, 2, {}),
            (2, paths[2], (4,), 3, 1, {}),
        )
    ]


def test_counting_reads_no_embeddings(shard):
    """So changed bytes are not found, and a large store takes no time."""
    whole = bytearray(shard.read_bytes())
    whole[-10] ^= 1
    shard.write_bytes(whole)
    assert count_shard(shard).boxes == (2, 3)
    with pytest.raises(ValueError, match='another digest'):
        check_shard(shard)


def test_every_changed_byte_of_the_content_is_found(shard, plan):
    whole = shard.read_bytes()
    start = 8 + int.from_bytes(whole[:8], 'little')
    for place in range(start, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        shard.write_bytes(changed)
        with pytest.raises(
            ValueError,
            match='00001.safetensors is damaged: '
            'its content has another digest than it says',
        ):
            check_shard(shard, plan.digest())


@pytest.mark.parametrize('length', [0, 7, 100, -1])
def test_cut_off(shard, length):
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(ValueError, match='00001.safetensors is damaged or no'):
        check_shard(shard)


def test_shard_of_another_store(tmp_path, shard, plan):
    other = make_store(tmp_path / 'other', crop_scales=(1.0,))
    with pytest.raises(ValueError, match='00001.*belongs to another store'):
        check_shard(shard, other.digest())
    assert check_shard(shard).shard == 1  # alone it is sound


def test_shard_under_another_name(tmp_path, shard, plan):
    renamed = shutil.copy(shard, tmp_path / 'shard-00002.safetensors')
    with pytest.raises(
        ValueError,
        match='is shard 1 under another name: '
        'expected shard-00001.safetensors',
    ):
        check_shard(renamed, plan.digest())


def test_other_files(tmp_path, shard):
    with pytest.raises(
        FileNotFoundError,
        match='shard of an embedding store '
        '.*did you mean "shard-00001.safetensors"',
    ):
        check_shard(tmp_path / 'shard-0001.safetensors')
    proposals = tmp_path / 'rpn.safetensors'
    save_proposals(proposals, {}, {})
    with pytest.raises(ValueError, match='rpn.* is no shard of an embedding '):
        check_shard(proposals)
    arrays = load_file(shard)
    del arrays['scores']
    write_tensors(shard, arrays, TensorFile(shard).info)
    with pytest.raises(ValueError, match='has no array "scores", only bboxes'):
        check_shard(shard)
