"""Extraction of proposal embeddings through a runner, on tiny images."""

import json
import logging
import os
import re
import resource
import signal

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.proposals import save_proposals
from ovd.clip.compiled_tower import CompiledTower
from ovd.clip.crops import cut_crops
from ovd.clip.image_encoder import embed_boxes, encode_crops
from ovd.clip.loading import load_clip
from ovd.engine.extraction_loop import ExtractionLoop
from ovd.engine.extraction_tasks import count_workers
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
            scores=np.linspace(0.1, 0.9, image_id % 4).astype(np.float32),
        )
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
                        height=HEIGHT,
                    )
                    for image_id in IDS
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
                    source=dict(file='all.json', sha256='0' * 64),
                ),
            )
        )
    )
    save_proposals(tmp_path / 'p.safetensors', _proposals(), {})
    return tmp_path


def _build(
    world,
    clip,
    store='store',
    num_workers=0,
    crop_scales=(1.0, 1.5),
    precision='fp32',
    compiled=False,
    **loop,
):
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
                precision=precision,
                compiled=compiled,
            ),
            train_dataloader=dict(
                num_workers=num_workers,
                dataset=dict(
                    type='GZSLCocoDataset',
                    ann_file=str(world / 'train.json'),
                    data_prefix=dict(img=str(world / 'train')),
                    test_mode=True,
                    serialize_data=False,
                    pipeline=[
                        dict(
                            type='LoadImageFromFile', imdecode_backend='pillow'
                        )
                    ],
                ),
            ),
            train_cfg=dict(
                type='ExtractionLoop',
                **{
                    **dict(
                        proposals=str(world / 'p.safetensors'),
                        store=str(world / store),
                        images_per_shard=2,
                    ),
                    **loop,
                },
            ),
        )
    )
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
            rtol=0,
        )
    assert '5/5' in capfd.readouterr().err


@pytest.mark.parametrize('num_workers', [0, 2])
def test_interrupted_and_resumed_is_byte_identical(
    world, tiny_clip_path, monkeypatch, num_workers
):
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
    assert sorted(_files(world / 'store')) == [
        'manifest.json',
        'shard-00000.safetensors',
    ]

    monkeypatch.setattr(ExtractionLoop, '_embed_shard', embed)
    before = (world / 'store/shard-00000.safetensors').stat().st_mtime_ns
    _build(world, tiny_clip_path, num_workers=num_workers).train()
    assert (
        before == (world / 'store/shard-00000.safetensors').stat().st_mtime_ns
    )
    assert _files(world / 'store') == _files(world / 'once')


def test_shares_of_two_ranks_make_the_same_store(
    world, tiny_clip_path, monkeypatch
):
    _build(world, tiny_clip_path, store='once').train()

    def not_forever(seconds):
        raise TimeoutError

    # Rank 1 of 2 first; it would wait for the other one's shards.
    monkeypatch.setattr('ovd.engine.extraction_loop.time.sleep', not_forever)
    runner = _build(world, tiny_clip_path)
    runner._rank, runner._world_size = 1, 2

    def broadcast(items):
        items[:] = ['fp32', 3, False] if len(items) == 3 else [[0, 1, 2]]

    monkeypatch.setattr(
        'ovd.engine.extraction_loop.broadcast_object_list', broadcast
    )
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
    assert times == {
        p.name: p.stat().st_mtime_ns for p in (world / 'store').iterdir()
    }


def test_number_and_size_of_proposals(world, tiny_clip_path):
    _build(world, tiny_clip_path, boxes=dict(num_max=2, min_size=10)).train()
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
    with pytest.raises(ValueError, match='num_max: None in the'):
        _build(world, tiny_clip_path, boxes=dict(num_max=5)).train()
    with pytest.raises(ValueError, match=r'crop_scales: \[1.0, 1.5\] in the'):
        _build(world, tiny_clip_path, crop_scales=(1.0,)).train()
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
        'train/5.png of .*train.json',
    ):
        _build(world, tiny_clip_path).train()
    assert not (world / 'store').exists()


def test_a_box_outside_its_image_is_refused(world, tiny_clip_path):
    proposals = _proposals()
    proposals['train/5.png'] = dict(
        bboxes=np.array([[10, 5, 60, 30]], np.float32),
        scores=np.array([0.5], np.float32),
    )
    save_proposals(world / 'p.safetensors', proposals, {})
    with pytest.raises(
        ValueError,
        match=r'train/5.png \(id 5\) of .*train.json .*the box \[10.0, '
        r'5.0, 60.0, 30.0\] lies outside the image of 48 x 40 pixels',
    ):
        _build(world, tiny_clip_path).train()
    names = set(_files(world / 'store'))
    assert names == {'manifest.json', 'shard-00000.safetensors'}


@pytest.mark.parametrize('num_workers', [0, 1])
def test_an_unreadable_image_is_named(world, tiny_clip_path, num_workers):
    (world / 'train/9.png').write_bytes(b'no image')
    with pytest.raises(
        ValueError,
        match=r'train/9.png \(id 9\) .* embedded: UnidentifiedImageError: '
        'cannot identify image file\n.*--skip-broken',
    ):
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


def test_the_command_to_resume_has_the_overrides(world, tiny_clip_path):
    runner = _build(world, tiny_clip_path)
    runner.cfg.cfg_options = ['train_cfg.dtype=int8', 'data_root=a b']
    runner.train()
    assert EmbeddingStore(world / 'store').manifest.command == (
        'python tools/train.py CONFIG --cfg-options train_cfg.dtype=int8 '
        "'data_root=a b'"
    )


def _annotate(world, image_id, boxes):
    """Give an image ground truth, xywh."""
    content = json.loads((world / 'train.json').read_text())
    content['annotations'] += [
        dict(
            id=100 + i,
            image_id=image_id,
            category_id=0,
            bbox=box,
            area=box[2] * box[3],
            iscrowd=int(i == 1),
        )
        for i, box in enumerate(boxes)
    ]
    (world / 'train.json').write_text(json.dumps(content))


def test_other_boxes_than_proposals(world, tiny_clip_path):
    _annotate(world, 5, [[4, 5, 10, 20], [0, 0, 9, 9]])  # the second a crowd
    _build(
        world,
        tiny_clip_path,
        boxes=dict(ground_truth=True, jitter=2, whole_image=True),
    ).train()
    found = EmbeddingStore(world / 'store').get(5)
    assert found['kinds'].tolist() == [0, 1, 2, 2, 3]
    np.testing.assert_array_equal(found['bboxes'][1], [4, 5, 14, 25])
    np.testing.assert_array_equal(found['bboxes'][4], [0, 0, WIDTH, HEIGHT])
    assert found['scores'][1:].tolist() == [1] * 4
    clip, image = load_clip(tiny_clip_path), _images()[5][..., ::-1]
    expected = embed_boxes(clip, image, found['bboxes'])
    np.testing.assert_allclose(
        found['embeddings'][:4], expected[:4], atol=1e-3
    )
    # A whole image is embedded as openai-clip does it, without a rim
    (whole,) = encode_crops(
        clip, [cut_crops(image, torch.tensor([[0, 0, WIDTH, HEIGHT]]), 64)], 1
    )
    cosine = torch.cosine_similarity(
        torch.from_numpy(found['embeddings'][4:].astype(np.float32)), whole
    )
    assert cosine.item() > 0.9999


def test_whole_images_need_no_proposals(world, tiny_clip_path):
    _build(
        world, tiny_clip_path, proposals=None, boxes=dict(whole_image=True)
    ).train()
    store = EmbeddingStore(world / 'store')
    assert [len(store.get(i)['kinds']) for i in IDS] == [1] * 5
    with pytest.raises(ValueError, match='nothing to embed: give proposals'):
        _build(world, tiny_clip_path, proposals=None).train()


def test_an_unknown_option_of_boxes(world, tiny_clip_path):
    with pytest.raises(ValueError, match='did you mean "nms_iou"'):
        _build(world, tiny_clip_path, boxes=dict(nms=0.5)).train()


def test_large_images_are_several_tasks(world, tiny_clip_path, monkeypatch):
    _build(world, tiny_clip_path, store='whole').train()
    monkeypatch.setattr('ovd.engine.extraction_tasks.CROPS_PER_TASK', 2)
    _build(world, tiny_clip_path, num_workers=2).train()
    assert _files(world / 'store') == _files(world / 'whole')


def test_int8(world, tiny_clip_path):
    _build(world, tiny_clip_path, store='exact').train()
    _build(world, tiny_clip_path, dtype='int8').train()
    small, exact = (
        EmbeddingStore(world / name) for name in ('store', 'exact')
    )
    for image_id in IDS:
        a, b = (
            torch.from_numpy(store.get(image_id)['embeddings']).float()
            for store in (small, exact)
        )
        assert (torch.cosine_similarity(a, b) >= 0.999).all()


BREAK = {
    'unreadable': lambda path: path.write_bytes(b'no image'),
    'cut off': lambda path: path.write_bytes(path.read_bytes()[:-200]),
    'missing': lambda path: path.unlink(),
    'of another size': lambda path: cv2.imwrite(
        str(path), np.zeros((20, 20, 3), np.uint8)
    ),
}


@pytest.mark.parametrize('how', BREAK)
def test_broken_images_are_skipped_and_recorded(world, tiny_clip_path, how):
    _build(world, tiny_clip_path, store='sound').train()
    BREAK[how](world / 'train/9.png')
    _build(world, tiny_clip_path, num_workers=1, skip_broken=True).train()
    store, sound = (
        EmbeddingStore(world / name) for name in ('store', 'sound')
    )
    assert [*store.broken] == [9] and store.get(9)['bboxes'].shape == (0, 4)
    for image_id in set(IDS) - {9}:
        np.testing.assert_array_equal(
            store.get(image_id)['embeddings'],
            sound.get(image_id)['embeddings'],
        )


def test_a_shard_of_broken_images(world, tiny_clip_path, caplog):
    for image_id in (5, 9):  # with two more sound ones beside
        (world / f'train/{image_id}.png').unlink()
    runner = _build(
        world, tiny_clip_path, skip_broken=True, images_per_shard=1
    )
    runner.logger = logging.getLogger('extraction')
    caplog.set_level('INFO', 'extraction')
    runner.train()
    assert [*EmbeddingStore(world / 'store').broken] == [5, 9]
    assert '2 images are broken and have no embeddings' in caplog.text
    assert 'embedded 3 images' in caplog.text


@pytest.mark.parametrize(
    'option, message',
    [
        (dict(skip_broken='maybe'), 'skip_broken must be True or False'),
        (dict(images_per_shard=2.5), 'images_per_shard'),
        (dict(boxes=dict(ground_truth='yes')), 'ground_truth must be of type'),
    ],
)
def test_options_of_another_type(world, tiny_clip_path, option, message):
    with pytest.raises(ValueError, match=message):
        _build(world, tiny_clip_path, **option).train()
    assert not (world / 'store').exists()


def test_images_without_proposals_are_skipped(world, tiny_clip_path):
    proposals = _proposals()
    del proposals['train/5.png']
    proposals['train/3.png']['bboxes'][0] = [10, 5, 60, 30]
    save_proposals(world / 'p.safetensors', proposals, {})
    _build(world, tiny_clip_path, skip_broken=True, images_per_shard=5).train()
    broken = EmbeddingStore(world / 'store').broken
    assert 'no proposals of train/5.png' in broken[5]
    assert 'lies outside the image of 48 x 40' in broken[3]
    assert len(broken) == 2


def test_a_folder_without_images_is_no_broken_image(world, tiny_clip_path):
    for path in (world / 'train').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match='none of the first 5 images could'):
        _build(
            world,
            tiny_clip_path,
            skip_broken=True,
            boxes=dict(whole_image=True),
        ).train()


@pytest.mark.parametrize('missing, truncated', [(0, 2), (1, 0), (2, 1)])
def test_lost_and_cut_off_shards_are_computed_anew(
    world, tiny_clip_path, missing, truncated
):
    _build(world, tiny_clip_path).train()
    before = _files(world / 'store')
    (world / f'store/shard-0000{missing}.safetensors').unlink()
    path = world / f'store/shard-0000{truncated}.safetensors'
    path.write_bytes(path.read_bytes()[:-7])
    _build(world, tiny_clip_path).train()
    assert _files(world / 'store') == before


def test_what_is_fastest_is_chosen_once(
    world, tiny_clip_path, caplog, monkeypatch
):
    runner = _build(world, tiny_clip_path, precision='auto')
    runner.logger = logging.getLogger('extraction')
    caplog.set_level('INFO', 'extraction')
    runner.train()
    assert runner.model.precision in ('fp32', 'bf16')
    before = _files(world / 'store')
    assert re.search(
        r'about 6 boxes of 5 images, 12 crops, .* GB; CLIP encodes .* '
        'crops/s here, measured in .*: about 0:00:00',
        caplog.text,
    )
    assert 'writing took' in caplog.text
    # Another machine would choose otherwise: the store's own choice stays.
    monkeypatch.setattr(
        'ovd.models.proposal_feature_extractor.measure_encoder', None
    )
    (world / 'store/shard-00001.safetensors').unlink()
    _build(world, tiny_clip_path, precision='auto').train()
    assert _files(world / 'store') == before


def test_a_store_that_was_begun_compiled_goes_on_so(
    world, tiny_vit_path, monkeypatch, caplog
):
    encoded = []

    def encode(tower, images, dtype):
        encoded.append(len(images))
        return tower.tower.encode(images, dtype)

    monkeypatch.setattr(
        'ovd.models.proposal_feature_extractor.WORTH_COMPILING', 0
    )
    # Whatever the machine measures, and without the time that it takes
    monkeypatch.setattr('ovd.clip.encoder_speed.MIN_GAIN', 0)
    monkeypatch.setattr(CompiledTower, 'encode', encode)
    caplog.set_level('INFO', 'extraction')
    runner = _build(world, tiny_vit_path, compiled='auto')
    runner.logger = logging.getLogger('extraction')
    runner.train()
    assert 'in fp32 and batches of 3, compiled: about' in caplog.text
    before = _files(world / 'store')
    assert EmbeddingStore(world / 'store').manifest.settings['compiled']
    (world / 'store/shard-00001.safetensors').unlink()
    # Which no longer would be worth it
    monkeypatch.setattr(
        'ovd.models.proposal_feature_extractor.WORTH_COMPILING', 1e9
    )
    encoded.clear()
    _build(world, tiny_vit_path, compiled='auto').train()
    assert encoded and _files(world / 'store') == before
    with pytest.raises(ValueError, match='compiled'):
        _build(world, tiny_vit_path, compiled=False).train()
    encoded.clear()
    _build(world, tiny_vit_path, store='plain', compiled='auto').train()
    settings = EmbeddingStore(world / 'plain').manifest.settings
    assert 'compiled' not in settings and not encoded


@pytest.mark.parametrize('begun', [False, True])
def test_a_dry_run_says_what_is_to_be_done(
    world, tiny_clip_path, caplog, begun
):
    before = None
    if begun:
        _build(world, tiny_clip_path, store='new/store').train()
        (world / 'new/store/shard-00000.safetensors').unlink()
        before = _files(world / 'new/store')
    runner = _build(world, tiny_clip_path, store='new/store', dry_run=True)
    runner.logger = logging.getLogger('extraction')
    caplog.set_level('INFO', 'extraction')
    runner.train()
    assert f'new/store: {1 if begun else 3} of 3 shards to' in caplog.text
    assert 'crops/s here' in caplog.text
    assert begun == (world / 'new').exists()
    assert not begun or _files(world / 'new/store') == before


def test_a_dry_run_meets_broken_images(world, tiny_clip_path):
    (world / 'train/3.png').write_bytes(b'')
    with pytest.raises(ValueError, match='3.png .id 3. .* be embedded'):
        _build(world, tiny_clip_path, dry_run=True).train()
    _build(world, tiny_clip_path, dry_run=True, skip_broken=True).train()


def test_a_full_disk_is_named_and_nothing_is_lost(world, tiny_clip_path):
    settings = dict(images_per_shard=5, boxes=dict(jitter=3))
    _annotate(world, 5, [[4, 5, 10, 20]])
    _build(world, tiny_clip_path, store='once', **settings).train()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    runner = _build(world, tiny_clip_path, **settings)
    size = (world / 'once/shard-00000.safetensors').stat().st_size
    assert size > (world / 'once/manifest.json').stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, hard))
    try:
        with pytest.raises(OSError, match='shard-0000'):
            runner.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*(world / 'store').glob('.*')]
    _build(world, tiny_clip_path, **settings).train()
    assert _files(world / 'store') == _files(world / 'once')


def test_told_to_end_it_ends_after_the_shard_and_says_how_to_go_on(
    world, tiny_clip_path, monkeypatch, capfd
):
    """And goes on to the same store."""
    _build(world, tiny_clip_path, store='once').train()
    write = ExtractionLoop._write

    def tell(loop, *args):
        write(loop, *args)
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(ExtractionLoop, '_write', tell)
        with pytest.raises(SystemExit) as end:
            _build(world, tiny_clip_path).train()
    assert end.value.code == 0
    assert signal.getsignal(signal.SIGTERM) == before
    said = ''.join(capfd.readouterr())
    assert '2 of 3 shards are missing' in said and 'go on with:' in said
    _build(world, tiny_clip_path).train()
    assert _files(world / 'store') == _files(world / 'once')


def test_a_rank_that_makes_no_shards_is_named(
    world, tiny_clip_path, monkeypatch
):
    monkeypatch.setattr(
        'ovd.engine.extraction_loop.broadcast_object_list', lambda items: None
    )
    runner = _build(world, tiny_clip_path, patience=0.1)
    runner._rank, runner._world_size = 0, 2
    with pytest.raises(TimeoutError, match='1 are missing, of rank 1: '):
        runner.train()


@pytest.mark.parametrize(
    'device, cores, processes, number',
    [
        ('cpu', 1, 1, 0),
        ('cpu', 2, 1, 0),
        ('cpu', 2, 2, 0),
        ('cpu', 4, 1, 4),
        ('cuda', 1, 2, 1),
        ('cuda', 2, 1, 2),
        ('cuda', 16, 4, 4),
        ('cuda', 64, 1, 8),
    ],
)
def test_workers_take_no_core_that_clip_needs(
    monkeypatch, device, cores, processes, number
):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {*range(cores)})
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(processes))
    assert count_workers(torch.device(device)) == number
