"""Stores and proposals must be of the images that training reads."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Optional

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope

from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.proposals import save_proposals
from ovd.artifacts.store_plan import StorePlan
from ovd.datasets.transforms import LoadProposalEmbeddings
from ovd.engine.hooks.distilled_boxes import (
    check_boxes_to_embed,
    check_stores,
    find_transforms,
    image_keys,
)

CLIP = dict(name='c', sha256='c' * 64)
SOURCE = dict(source_sha256='0' * 64)


def write_annotations(
    folder: Path, image_ids: List[int], name: str = 'train'
) -> str:
    path = folder / f'{name}.json'
    path.write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.jpg', width=9, height=9)
                    for i in image_ids
                ],
                annotations=[
                    dict(
                        id=i,
                        image_id=i,
                        category_id=1,
                        bbox=[1, 1, 4, 4],
                        area=16,
                        iscrowd=0,
                    )
                    for i in image_ids
                ],
                categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
                gzsl=dict(
                    split='toy',
                    base=['cat'],
                    novel=['dog'],
                    groups={},
                    subset='train',
                    removed=dict(annotations=0, images=0),
                    source=dict(file='all.json', sha256='0' * 64),
                ),
            )
        )
    )
    return str(path)


def write_store(
    folder: Path,
    image_ids: List[int],
    broken: Optional[Dict[int, str]] = None,
    source: str = '0' * 64,
    settings: Optional[dict] = None,
) -> str:
    plan = StorePlan(
        clip=CLIP,
        proposals=dict(file='p', sha256='p'),
        annotations=dict(file='train.json', sha256='a', source_sha256=source),
        settings=settings or {},
        images_per_shard=2,
        image_ids=image_ids,
        image_keys=[f'train/{i}.jpg' for i in image_ids],
    )
    writer = EmbeddingStoreWriter(folder, plan)
    broken = broken or {}
    for shard in range(plan.num_shards):
        ids = plan.shard_image_ids(shard)
        items = [
            dict(
                embeddings=np.ones((n, 2), np.float16),
                bboxes=np.tile(np.float32([0, 0, 2, 2]), (n, 1)),
                scores=np.ones(n, np.float32),
            )
            for n in (0 if i in broken else 1 for i in ids)
        ]
        writer.write_shard(
            shard, items, {i: broken[i] for i in ids if i in broken}
        )
    return str(folder)


def leaf_cfg(ann_file: str, *pipeline: dict, **kwargs) -> dict:
    return dict(
        type='GZSLCocoDataset',
        ann_file=ann_file,
        data_prefix=dict(img='train'),
        pipeline=list(pipeline),
        **kwargs,
    )


def build(cfg: dict) -> BaseDataset:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(cfg)


def load(store: str, **kwargs) -> dict:
    return dict(type='LoadProposalEmbeddings', store=store, **kwargs)


def check(dataset: BaseDataset, clip: dict = CLIP) -> List[str]:
    """Return what is logged."""
    lines: List[str] = []
    check_stores(
        dataset,
        [SimpleNamespace(clip=clip)],
        SimpleNamespace(warning=lines.append),
    )
    return lines


WRAPPERS = {
    'none': lambda cfg: cfg,
    'repeated': lambda cfg: dict(type='RepeatDataset', times=2, dataset=cfg),
    'class-balanced': lambda cfg: dict(
        type='ClassBalancedDataset', oversample_thr=0.1, dataset=cfg
    ),
    'concatenated': lambda cfg: dict(type='ConcatDataset', datasets=[cfg]),
    'repeated and concatenated': lambda cfg: dict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', times=2, dataset=cfg)],
    ),
    'seeded': lambda cfg: dict(type='SeededDataset', dataset=cfg),
    'mixed': lambda cfg: dict(
        type='MultiImageMixDataset', dataset=cfg, pipeline=[]
    ),
}
NESTS = {
    'plain': lambda cfg: cfg,
    'broadcast': lambda cfg: dict(
        type='ProposalBroadcaster', transforms=[cfg]
    ),
    'one of two': lambda cfg: dict(
        type='RandomChoice', transforms=[[cfg], [dict(type='Pad', size=9)]]
    ),
    'deep': lambda cfg: dict(
        type='RandomApply',
        transforms=[dict(type='ProposalBroadcaster', transforms=[cfg])],
    ),
}


@pytest.mark.parametrize('nest', NESTS)
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_transforms_are_found_wherever_they_are(
    tmp_path: Path, wrapper: str, nest: str
) -> None:
    ann_file = write_annotations(tmp_path, [3, 7])
    store = write_store(tmp_path / 'store', [3])
    dataset = build(
        WRAPPERS[wrapper](leaf_cfg(ann_file, NESTS[nest](load(store))))
    )
    ((leaf, transform),) = find_transforms(dataset, LoadProposalEmbeddings)
    assert leaf.ann_file == ann_file and transform.store_path == store
    with pytest.raises(ValueError, match=r'lacks 1 of the 2 .*train/7.jpg'):
        check(dataset)


def test_transforms_of_a_wrappers_own_pipeline(tmp_path: Path) -> None:
    """It runs on the images of the dataset that is wrapped."""
    ann_file = write_annotations(tmp_path, [3, 7])
    store = write_store(tmp_path / 'store', [3])
    dataset = build(
        dict(
            type='MultiImageMixDataset',
            dataset=leaf_cfg(ann_file),
            pipeline=[load(store)],
        )
    )
    with pytest.raises(ValueError, match=r'lacks 1 of the 2 .*train/7.jpg'):
        check(dataset)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_stores_that_cover_all_images(
    tmp_path: Path, serialize_data: bool
) -> None:
    ann_file = write_annotations(tmp_path, [3, 7, 8])
    stores = [
        write_store(tmp_path / 'a', [3, 7, 8]),
        write_store(tmp_path / 'b', [1, 3, 5, 7, 8, 9]),
    ]
    dataset = build(
        leaf_cfg(ann_file, *map(load, stores), serialize_data=serialize_data)
    )
    assert image_keys(dataset) == {i: f'train/{i}.jpg' for i in (3, 7, 8)}
    assert not check(dataset)
    with pytest.raises(ValueError, match='the embedding store .*a by CLIP c'):
        check(dataset, dict(name='d', sha256='d' * 64))


def test_each_part_is_compared_with_its_own_store(tmp_path: Path) -> None:
    parts = [
        leaf_cfg(
            write_annotations(tmp_path, ids, f'part_{ids[0]}'),
            load(write_store(tmp_path / f'store_{ids[0]}', ids)),
        )
        for ids in ([3, 7], [8])
    ]
    whole = dict(type='ConcatDataset', datasets=parts)
    assert not check(build(whole))
    for part in parts:  # both read what is of the second one alone
        part['pipeline'] = parts[1]['pipeline']
    with pytest.raises(ValueError, match='store_8 lacks 2 of the 2 images'):
        check(build(whole))


def test_a_store_of_another_source(tmp_path: Path) -> None:
    store = write_store(tmp_path / 'store', [3], source='1' * 64)
    ann_file = write_annotations(tmp_path, [3])
    with pytest.raises(ValueError, match='store is for other images than'):
        check(build(leaf_cfg(ann_file, load(store))))


def test_broken_images_are_counted_once(tmp_path: Path) -> None:
    """Those of the training set: a store may have others."""
    store = write_store(
        tmp_path / 'store',
        [3, 5, 7, 8],
        {5: 'not trained on', 7: 'OSError: cut off', 8: 'OSError: gone'},
    )
    ann_file = write_annotations(tmp_path, [3, 7, 8])
    # Both the training set and one of its stores come twice.
    dataset = build(
        dict(
            type='RepeatDataset',
            times=2,
            dataset=leaf_cfg(ann_file, load(store), load(store, num_max=1)),
        )
    )
    (line,) = check(dataset)
    assert line.startswith(f'2 of the 3 training images of {ann_file} have')
    assert line.endswith('the first is train/7.jpg: OSError: cut off')


def test_a_store_with_fewer_proposals_than_asked_for(tmp_path: Path) -> None:
    store = write_store(tmp_path / 'store', [3], settings=dict(num_max=300))
    ann_file = write_annotations(tmp_path, [3])
    for num_max, warned in ((None, False), (300, False), (1000, True)):
        lines = check(build(leaf_cfg(ann_file, load(store, num_max=num_max))))
        assert bool(lines) == warned
    assert 'at most 300 proposals' in lines[0] and 'num_max=1000' in lines[0]


def write_proposals(
    folder: Path, image_ids: List[int], source: dict = SOURCE
) -> str:
    path = folder / 'p.safetensors'
    save_proposals(
        path,
        {
            f'train/{i}.jpg': dict(
                bboxes=np.float32([[0, 0, 2, 2]]), scores=np.float32([0.5])
            )
            for i in image_ids
        },
        dict(annotations=source),
    )
    return str(path)


def test_boxes_to_embed(tmp_path: Path) -> None:
    ann_file = write_annotations(tmp_path, [3, 7])
    pack = dict(type='PackDistillInputs')
    to_embed = dict(
        type='LoadProposalsToEmbed',
        proposals=write_proposals(tmp_path, [3, 7, 9]),
    )
    own = dict(type='LoadProposalsToEmbed', boxes=dict(ground_truth=True))
    for wrap in WRAPPERS.values():
        for given in (to_embed, own):
            check_boxes_to_embed(build(wrap(leaf_cfg(ann_file, given, pack))))

    whole = leaf_cfg(ann_file, to_embed, pack)
    for other, message in (
        (leaf_cfg(ann_file, load('store'), pack), 'train.json takes embed'),
        (leaf_cfg(ann_file, pack), 'train.json has no LoadProposalsToEmbed'),
        (leaf_cfg(ann_file, own), 'train.json has no PackDistillInputs'),
    ):
        with pytest.raises(ValueError, match=message):
            check_boxes_to_embed(
                build(dict(type='ConcatDataset', datasets=[whole, other]))
            )


@pytest.mark.parametrize(
    'image_ids, source, message',
    [
        (
            [3],
            SOURCE,
            'proposals for other images: train/7.jpg of .*train.json',
        ),
        (
            [3, 7],
            dict(source_sha256='1' * 64),
            'is for other images than the tr',
        ),
    ],
)
def test_proposals_of_other_images(
    tmp_path: Path, image_ids: list, source: dict, message: str
) -> None:
    dataset = build(
        leaf_cfg(
            write_annotations(tmp_path, [3, 7]),
            dict(
                type='LoadProposalsToEmbed',
                proposals=write_proposals(tmp_path, image_ids, source),
            ),
            dict(type='PackDistillInputs'),
        )
    )
    with pytest.raises(ValueError, match=message):
        check_boxes_to_embed(dataset)
