"""Each byte of a shard is checked, and its place in the store."""
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.proposals import save_proposals
from ovd.artifacts.store_check import ShardSize, check_shard
from ovd.artifacts.store_plan import StorePlan
from ovd.artifacts.tensor_file import TensorFile, write_tensors


def make_store(folder, crop_scales=(1.0, 1.5)):
    """Write images 0 to 4, two a shard, image i with i embeddings of 3."""
    plan = StorePlan(
        dict(name='RN50', sha256='0' * 64), dict(file='p.pkl', sha256='1'),
        dict(file='a.json', sha256='2'), dict(crop_scales=crop_scales), 2,
        list(range(5)), [f'train/{i}.jpg' for i in range(5)])
    writer = EmbeddingStoreWriter(folder, plan)
    for shard in range(3):
        writer.write_shard(shard, [
            dict(embeddings=np.ones((i, 3)), bboxes=np.ones((i, 4)),
                 scores=np.ones(i)) for i in plan.shard_image_ids(shard)])
    return plan


@pytest.fixture
def plan(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def shard(plan, tmp_path):
    return tmp_path / 'shard-00001.safetensors'


@pytest.mark.parametrize('with_plan', [True, False])
def test_sound_shards(tmp_path, plan, with_plan):
    found = [check_shard(tmp_path / f'shard-0000{k}.safetensors',
                         plan if with_plan else None) for k in range(3)]
    assert found == [ShardSize(0, 2, 1, 3), ShardSize(1, 2, 5, 3),
                     ShardSize(2, 1, 4, 3)]


def test_every_changed_byte_of_the_content_is_found(shard, plan):
    whole = shard.read_bytes()
    start = 8 + int.from_bytes(whole[:8], 'little')
    for place in range(start, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        shard.write_bytes(changed)
        with pytest.raises(ValueError, match='00001.safetensors is damaged: '
                           'its content has another digest than it says'):
            check_shard(shard, plan)


@pytest.mark.parametrize('length', [0, 7, 100, -1])
def test_cut_off(shard, length):
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(ValueError, match='00001.safetensors is damaged or no'):
        check_shard(shard)


def test_shard_of_another_store(tmp_path, shard, plan):
    other = make_store(tmp_path / 'other', crop_scales=(1.0, ))
    with pytest.raises(ValueError, match='00001.*belongs to another store'):
        check_shard(shard, other)
    assert check_shard(shard).shard == 1  # alone it is sound


def test_shard_under_another_name(tmp_path, shard, plan):
    renamed = shutil.copy(shard, tmp_path / 'shard-00002.safetensors')
    with pytest.raises(ValueError, match='is shard 1 under another name: '
                       'expected shard-00001.safetensors'):
        check_shard(renamed, plan)


def test_other_files(tmp_path, shard):
    with pytest.raises(FileNotFoundError, match='shard of an embedding store '
                       '.*did you mean "shard-00001.safetensors"'):
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
