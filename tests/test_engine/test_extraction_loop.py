"""Extraction of proposal embeddings through a runner, on tiny images."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.proposals import save_proposals
from ovd.clip.image_encoder import embed_boxes
from ovd.clip.loading import load_clip
from ovd.engine.extraction_loop import ExtractionLoop
from ovd.engine.launch import build_runner

IDS = [8, 3, 5, 1, 9]
WIDTH, HEIGHT = 48, 40


def _images():
    rng = np.random.RandomState(0)
    return {
        image_id: rng.randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        for image_id in IDS
    }


def _proposals():
    """Image i has i % 4 proposals, the later ones with a better score."""
    rng = np.random.RandomState(1)
    proposals = {}
    for image_id in IDS:
        top_left = rng.uniform(0, 20, (image_id % 4, 2))
        sides = rng.uniform(5, 20, (image_id % 4, 2))
        proposals[f'train/{image_id}.png'] = dict(
            bboxes=np.hstack([top_left, top_left + sides]).astype(np.float32),
            scores=np.linspace(.1, .9, image_id % 4).astype(np.float32))
    return proposals


@pytest.fixture()
def world(tmp_path):
    """Images, a split annotation file and proposals in a folder."""
    (tmp_path / 'train').mkdir()
    for image_id, image in _images().items():
        cv2.imwrite(str(tmp_path / f'train/{image_id}.png'), image)
    names = ['red circle', 'blue star']
    (tmp_path / 'train.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(
                        id=image_id,
                        file_name=f'{image_id}.png',
                        width=WIDTH,
                        height=HEIGHT) for image_id in IDS
                ],
                annotations=[],
                categories=[dict(id=i, name=n) for i, n in enumerate(names)],
                gzsl=dict(
                    split='toy',
                    base=names[:1],
                    novel=names[1:],
                    groups={},
                    subset='train',
                    removed=dict(annotations=0, images=0),
                    source=dict(file='all.json', sha256='0' * 64)))))
    save_proposals(tmp_path / 'p.safetensors', _proposals(), {})
    return tmp_path


def _build(world, clip, store='store', num_workers=0, crop_scales=(1.0, 1.5),
           precision='fp32', **loop):
    cfg = Config(
        dict(
            runner_type='ExtractionRunner',
            default_scope='mmdet',
            launcher='none',
            log_level='WARNING',
            work_dir=str(world / 'work'),
            model=dict(
                type='ProposalFeatureExtractor',
                clip=clip,
                batch_size=3,
                crop_scales=crop_scales,
                precision=precision),
            train_dataloader=dict(
                num_workers=num_workers,
                dataset=dict(
                    type='GZSLCocoDataset',
                    ann_file=str(world / 'train.json'),
                    data_prefix=dict(img=str(world / 'train')),
                    test_mode=True,
                    serialize_data=False,
                    pipeline=[dict(type='LoadImageFromFile')])),
            train_cfg=dict(
                type='ExtractionLoop',
                **{
                    **dict(
                        proposals=str(world / 'p.safetensors'),
                        store=str(world / store),
                        images_per_shard=2),
                    **loop
                })))
    return build_runner(cfg)


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_embeddings_are_those_of_each_box(world, tiny_clip_path, capfd):
    _build(world, tiny_clip_path).train()
    store, clip = EmbeddingStore(world / 'store'), load_clip(tiny_clip_path)
    assert store.clip == clip.identity and len(store) == 5
    for image_id, image in _images().items():
        found = store.get(image_id)
        entry = _proposals()[f'train/{image_id}.png']
        # Highest score first; files are read as BGR, CLIP sees RGB.
        np.testing.assert_array_equal(found['bboxes'], entry['bboxes'][::-1])
        expected = embed_boxes(clip, image[..., ::-1], found['bboxes'])
        torch.testing.assert_close(
            torch.from_numpy(found['embeddings']).float(),
            expected,
            atol=1e-3,
            rtol=0)
    assert '5/5' in capfd.readouterr().err


@pytest.mark.parametrize('num_workers', [0, 2])
def test_interrupted_and_resumed_is_byte_identical(
        world, tiny_clip_path, monkeypatch, num_workers):
    _build(world, tiny_clip_path, store='once').train()

    runner = _build(world, tiny_clip_path, num_workers=num_workers)
    embed, calls = ExtractionLoop._embed_shard, []

    def fail_on_second(self, shard, *args):
        calls.append(shard)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(self, shard, *args)

    monkeypatch.setattr(ExtractionLoop, '_embed_shard', fail_on_second)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert sorted(_files(world / 'store')) == \
        ['manifest.json', 'shard-00000.safetensors']

    monkeypatch.setattr(ExtractionLoop, '_embed_shard', embed)
    before = (world / 'store/shard-00000.safetensors').stat().st_mtime_ns
    _build(world, tiny_clip_path, num_workers=num_workers).train()
    assert before == \
        (world / 'store/shard-00000.safetensors').stat().st_mtime_ns
    assert _files(world / 'store') == _files(world / 'once')


def test_shares_of_two_ranks_make_the_same_store(world, tiny_clip_path,
                                                 monkeypatch):
    _build(world, tiny_clip_path, store='once').train()

    def not_forever(seconds):
        raise TimeoutError

    # Rank 1 of 2 first; it would wait for the other one's shards.
    monkeypatch.setattr('ovd.engine.extraction_loop.time.sleep', not_forever)
    runner = _build(world, tiny_clip_path)
    runner._rank, runner._world_size = 1, 2
    monkeypatch.setattr(
        'ovd.engine.extraction_loop.broadcast_object_list',
        lambda items: items.__setitem__(0, [0, 1, 2]))
    with pytest.raises(TimeoutError):
        runner.train()
    assert not (world / 'store/shard-00000.safetensors').exists()
    assert (world / 'store/shard-00001.safetensors').exists()
    runner = _build(world, tiny_clip_path)
    runner._rank, runner._world_size = 0, 2
    runner.train()
    assert _files(world / 'store') == _files(world / 'once')


def test_a_finished_store_is_left_alone(world, tiny_clip_path):
    _build(world, tiny_clip_path).train()
    times = {p.name: p.stat().st_mtime_ns for p in (world / 'store').iterdir()}
    _build(world, tiny_clip_path).train()
    assert times == {p.name: p.stat().st_mtime_ns
                     for p in (world / 'store').iterdir()}


def test_number_and_size_of_proposals(world, tiny_clip_path):
    _build(world, tiny_clip_path, num_max_proposals=2, min_size=10).train()
    store = EmbeddingStore(world / 'store')
    for image_id in IDS:
        found = store.get(image_id)
        entry = _proposals()[f'train/{image_id}.png']
        sides = entry['bboxes'][:, 2:] - entry['bboxes'][:, :2]
        expected = entry['bboxes'][(sides >= 10).all(1)][::-1][:2]
        np.testing.assert_array_equal(found['bboxes'], expected)


def test_other_settings_are_refused(world, tiny_clip_path, tiny_vit_path):
    _build(world, tiny_clip_path).train()
    before = _files(world / 'store')
    with pytest.raises(ValueError, match='num_max_proposals: None in the'):
        _build(world, tiny_clip_path, num_max_proposals=5).train()
    with pytest.raises(ValueError, match=r'crop_scales: \[1.0, 1.5\] in the'):
        _build(world, tiny_clip_path, crop_scales=(1.0, )).train()
    with pytest.raises(ValueError, match='precision: "?fp32'):
        _build(world, tiny_clip_path, precision='bf16').train()
    with pytest.raises(ValueError, match='clip.sha256: '):
        _build(world, tiny_vit_path).train()
    assert _files(world / 'store') == before


def test_proposals_of_other_images_are_refused(world, tiny_clip_path):
    proposals = _proposals()
    del proposals['train/5.png']
    save_proposals(world / 'p.safetensors', proposals, {})
    with pytest.raises(
            ValueError,
            match='p.safetensors holds proposals for other images: '
            'train/5.png of .*train.json'):
        _build(world, tiny_clip_path).train()
    assert not (world / 'store').exists()


def test_a_box_outside_its_image_is_refused(world, tiny_clip_path):
    proposals = _proposals()
    proposals['train/5.png'] = dict(
        bboxes=np.array([[10, 5, 60, 30]], np.float32),
        scores=np.array([.5], np.float32))
    save_proposals(world / 'p.safetensors', proposals, {})
    with pytest.raises(
            ValueError,
            match='other images: train/5.png of .*train.json has 48 x 40 '
            r'pixels, and the box \[10.0, 5.0, 60.0, 30.0\]'):
        _build(world, tiny_clip_path).train()
    names = set(_files(world / 'store'))
    assert names == {'manifest.json', 'shard-00000.safetensors'}


@pytest.mark.parametrize('num_workers', [0, 1])
def test_an_unreadable_image_is_named(world, tiny_clip_path, num_workers):
    (world / 'train/8.png').write_bytes(b'no image')
    with pytest.raises(AssertionError, match='failed to load .*train/8.png'):
        _build(world, tiny_clip_path, num_workers=num_workers).train()


def test_missing_files_are_named(world, tiny_clip_path):
    with pytest.raises(FileNotFoundError, match='tools/test.py'):
        _build(world, tiny_clip_path, proposals='none.pkl').train()
    with pytest.raises(FileNotFoundError, match='none.pt'):
        _build(world, 'none.pt')


def test_incomplete_store_names_the_config(world, tiny_clip_path):
    _build(world, tiny_clip_path).train()
    (world / 'store/shard-00001.safetensors').unlink()
    with pytest.raises(ValueError, match='python tools/train.py CONFIG'):
        EmbeddingStore(world / 'store')
