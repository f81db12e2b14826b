"""Regions to learn prompts from: labels, groups, weights, refusals."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import torch

from ovd.artifacts.embedding_store import BOX_KINDS, EmbeddingStoreWriter
from ovd.artifacts.store_plan import StorePlan
from ovd.datasets.gzsl_split import describe_annotations
from ovd.datasets.region_embeddings import (
    RegionEmbeddings,
    inverse_frequencies,
    keep_batch,
)

PROPOSAL, TRUE = map(BOX_KINDS.index, ('proposal', 'ground_truth'))
# Classes are cat (base), dog (novel), fox (base); box xywh, crowd
BOXES = {
    1: [('fox', (0, 0, 10, 10), 0), ('cat', (0, 0, 10, 10), 0)],
    2: [('cat', (20, 20, 10, 10), 0), ('fox', (0, 0, 30, 30), 1)],
    3: [],  # no box
    4: [('cat', (0, 0, 20, 20), 0)],  # broken
    5: [('fox', (50, 30, 20, 20), 0)],  # over the edge of the image
}
SIZE = dict(width=60, height=40)
# Proposals xyxy; of image 1 and 2 with IoU 0.55, 0.2, 1, 0.05 and 0.55, 0
PROPOSALS = {
    1: [(0, 0, 10, 5.5), (0, 0, 5, 4), (0, 0, 10, 10), (0, 0, 1, 5)],
    2: [(20, 20, 30, 25.5), (0, 0, 15, 15)],
    3: [(0, 0, 10, 10)],
    4: [],
    5: [(50, 30, 60, 38)],  # IoU 0.8 with the box that was cut
}
RANGES = [(0.5, 0.6), (0.75, 1.1)]


def number(image_id: int, row: int) -> np.ndarray:
    """An embedding that only this region has."""
    return np.array([image_id, row, 0.5, 1], np.float32)


def write_world(
    root: Path, subset: str = 'train', **changes: Any
) -> Dict[str, Any]:
    """Write annotations and a store; return arguments of the dataset."""
    split = dict(
        split='toy',
        subset=subset,
        base=['cat', 'fox'],
        novel=['dog'],
        removed_annotations=0,
        source=dict(file='all.json', sha256='0' * 64),
    )
    categories = [
        dict(id=7 * i, name=name)
        for i, name in enumerate(('cat', 'dog', 'fox'), 1)
    ]
    ids = {item['name']: item['id'] for item in categories}
    annotations = [
        dict(
            image_id=image_id,
            category_id=ids[name],
            bbox=box,
            iscrowd=crowd,
            area=box[2] * box[3],
        )
        for image_id, boxes in BOXES.items()
        for name, box, crowd in boxes
    ]
    for i, annotation in enumerate(annotations, 1):
        annotation['id'] = i
    root.mkdir(parents=True, exist_ok=True)
    (root / 'toy.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', **SIZE) for i in BOXES
                ],
                annotations=annotations,
                categories=categories,
                gzsl=split,
            )
        )
    )
    write_store(root, **changes)
    return dict(
        store=str(root / 'store'),
        iou_ranges=RANGES,
        neg_fraction=1.0,
        dataset=dict(
            type='GZSLCocoDataset',
            data_root=str(root),
            ann_file='toy.json',
            data_prefix=dict(img='train/'),
        ),
    )


def write_store(
    root: Path, ground_truth: bool = True, boxes: Dict[int, list] = BOXES
) -> None:
    writer = EmbeddingStoreWriter(
        root / 'store',
        StorePlan(
            clip=dict(name='tiny.pt', sha256='c1'),
            proposals=None,
            annotations=describe_annotations(root / 'toy.json'),
            settings=dict(ground_truth=ground_truth),
            images_per_shard=2,
            image_ids=list(BOXES),
            image_keys=[f'train/{i}.png' for i in BOXES],
        ),
    )
    for shard in writer.missing_shards():
        ids = writer.plan.shard_image_ids(shard)
        writer.write_shard(
            shard,
            [store_item(i, boxes[i], ground_truth) for i in ids],
            {i: 'cut off' for i in ids if i == 4},
        )


def store_item(
    image_id: int, boxes: list, ground_truth: bool
) -> Dict[str, np.ndarray]:
    found = list(PROPOSALS[image_id])
    kinds = [PROPOSAL] * len(found)
    if ground_truth and image_id != 4:
        for _, (x, y, w, h), crowd in boxes:
            if not crowd:
                found.append((x, y, min(x + w, 60), min(y + h, 40)))
                kinds.append(TRUE)
    return dict(
        embeddings=np.array(
            [number(image_id, row) for row in range(len(found))], np.float32
        ).reshape(-1, 4),
        bboxes=np.array(found, np.float32).reshape(-1, 4),
        scores=np.ones(len(found), np.float32),
        kinds=np.array(kinds, np.uint8),
    )


def rows(dataset: RegionEmbeddings) -> List[Tuple[int, int, int, int]]:
    """Return (group, image, row, label) of all, without an order."""
    return sorted(
        (
            item['group'],
            *item['embeddings'][0, :2].int().tolist(),
            item['labels'].item(),
        )
        for item in map(dataset.__getitem__, range(len(dataset)))
    )


def test_labels_and_groups(tmp_path: Path) -> None:
    dataset = RegionEmbeddings(**write_world(tmp_path))
    # Image 1's boxes are at one place: a proposal is of the first of them.
    assert rows(dataset) == [
        (0, 1, 0, 1),
        (0, 1, 1, -1),
        (0, 2, 0, 0),
        (1, 1, 1, -1),
        (1, 1, 2, 1),
        (1, 1, 4, 1),
        (1, 1, 5, 0),
        (1, 2, 2, 0),
        (1, 5, 0, 1),
        (1, 5, 1, 1),
    ]
    assert dataset.group_sizes == [3, 7] and len(dataset) == 10
    assert dataset.metainfo['base_classes'] == ('cat', 'fox')
    assert dataset.clip == dict(name='tiny.pt', sha256='c1')
    assert dataset.embed_dims == 4
    assert dataset.embeddings.dtype == torch.float16
    assert len(dataset.embeddings) == 9  # each once


def test_a_batch_is_of_one_group(tmp_path: Path) -> None:
    dataset = RegionEmbeddings(**write_world(tmp_path))
    batch = keep_batch(dataset.__getitems__([3, 9, 4]))
    assert batch['group'] == 1 and batch['embeddings'].shape == (3, 4)
    # Group 1 has 7 regions: 2 cats, 4 foxes and 1 of background.
    weight = {-1: 7 / (2 * 1), 0: 7 / (2 * 2), 1: 7 / (2 * 4)}
    assert batch['weights'].tolist() == pytest.approx(
        [weight[label] for label in batch['labels'].tolist()]
    )
    assert batch['labels'][1] == -1  # background is last
    with pytest.raises(ValueError, match='a batch must be of one group'):
        dataset.__getitems__([2, 3])


def test_weights_are_inverse_frequencies() -> None:
    labels = torch.tensor([0] * 6 + [2] * 2 + [-1] * 4)
    expected = []
    counts = Counter(labels.tolist())
    for label in (0, 1, 2):
        frequency = 3 * counts[label] / 12
        expected.append(1 / frequency if frequency else 0)
    expected.append(1 / (2 * counts[-1] / 12))
    assert inverse_frequencies(labels, 3).tolist() == pytest.approx(expected)
    assert inverse_frequencies(labels[:8], 3)[-1] == 0  # no background


def write_detpro(path: Path, count: int = 200) -> Tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    features = torch.randn(count, 4)
    ious = 0.1 + 0.9 * torch.rand(count)
    ious[-20:] = 1
    labels = torch.randint(2, (count,)) * 2  # cats and foxes
    labels[ious < 0.5] = -1
    torch.save((features, labels, ious), path)
    return features, labels, ious


@pytest.fixture
def detpro(tmp_path: Path) -> Dict[str, Any]:
    options = write_world(tmp_path)
    options.pop('store')
    write_detpro(tmp_path / 'train_data.pth')
    return dict(options, data_file=str(tmp_path / 'train_data.pth'))


def test_detpros_training_data(detpro: Dict[str, Any]) -> None:
    features, labels, ious = torch.load(detpro['data_file'], weights_only=True)
    dataset = RegionEmbeddings(**dict(detpro, neg_fraction=0.25))
    assert dataset.clip is None and dataset.embed_dims == 4
    negatives = ((0.1 <= ious) & (ious < 0.5)).sum().item()
    assert dataset.num_negatives == int(0.25 * negatives)
    start = 0
    for (low, high), size in zip(RANGES, dataset.group_sizes):
        batch = dataset.__getitems__(range(start, start + size))
        start += size
        chosen = (low <= ious) & (ious < high)
        is_class = batch['labels'] >= 0
        assert torch.equal(
            batch['embeddings'][is_class], features[chosen].half()
        )
        assert torch.equal(batch['labels'][is_class], labels[chosen] // 2)
        assert (~is_class).sum() == dataset.num_negatives
        drawn = batch['embeddings'][~is_class]
        found = (drawn[:, None] == features.half()).all(-1)
        assert (found.sum(1) == 1).all()  # each is one of the file
        background = ious[found.float().argmax(1)]
        assert ((0.1 <= background) & (background < 0.5)).all()


def test_the_draw_has_a_seed(detpro: Dict[str, Any]) -> None:
    one, same, other = (
        RegionEmbeddings(**dict(detpro, neg_fraction=0.5, seed=seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.embeddings, same.embeddings)
    assert not torch.equal(one.embeddings, other.embeddings)
    # A group alone has the same background.
    alone = RegionEmbeddings(
        **dict(detpro, neg_fraction=0.5, iou_ranges=RANGES[1:])
    )
    first, second = (
        [
            tuple(item['embeddings'][0].tolist())
            for item in map(data.__getitem__, range(start, len(data)))
        ]
        for data, start in ((one, one.group_sizes[0]), (alone, 0))
    )
    assert first == second


def test_old_files_of_torch_are_read(detpro: Dict[str, Any]) -> None:
    new = RegionEmbeddings(**detpro)
    content = torch.load(detpro['data_file'], weights_only=True)
    torch.save(
        content, detpro['data_file'], _use_new_zipfile_serialization=False
    )
    assert torch.equal(RegionEmbeddings(**detpro).embeddings, new.embeddings)


@pytest.mark.parametrize(
    'content, message',
    [
        (torch.zeros(3, 4), r'got torch.float32 \(3, 4\)'),
        (
            (torch.zeros(3, 4), torch.zeros(3), torch.zeros(3)),
            'expected features .* integer labels',
        ),
        (
            (torch.zeros(3, 4), torch.zeros(2).long(), torch.zeros(3)),
            'expected',
        ),
        (
            (torch.zeros(3, 4), torch.tensor([0, 3, 0]), torch.ones(3)),
            'labels from -1 to 3, expected -1 for background and 0 to 2',
        ),
        (
            (torch.zeros(3, 4), torch.tensor([0, 1, 0]), torch.ones(3)),
            'boxes of novel classes.*"dog"',
        ),
    ],
)
def test_other_content_is_refused(
    detpro: Dict[str, Any], content: Any, message: str
) -> None:
    torch.save(content, detpro['data_file'])
    with pytest.raises(ValueError, match=message):
        RegionEmbeddings(**detpro)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(store='a', data_file='b'), 'either a store or a data_file'),
        (dict(store=None), 'either a store or a data_file'),
        (dict(iou_ranges=[(0.6, 0.5)]), 'low < high'),
        (dict(iou_ranges=[]), 'must have a range'),
        (dict(neg_range=(0, 0.5)), 'above 0'),
        (dict(neg_fraction=1.5), 'from 0 to 1'),
        (
            dict(iou_ranges=[(0.6, 0.7)]),
            'no region of a base class has an IoU',
        ),
    ],
)
def test_wrong_options(
    tmp_path: Path, options: Dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RegionEmbeddings(**dict(write_world(tmp_path), **options))


def test_a_store_without_annotated_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='ground_truth=True'):
        RegionEmbeddings(**write_world(tmp_path, ground_truth=False))


def test_a_store_of_other_boxes_is_refused(tmp_path: Path) -> None:
    boxes = dict(BOXES)
    boxes[2] = [('cat', (21, 20, 10, 10), 0)]
    with pytest.raises(ValueError, match='boxes of image 2 in .* are not the'):
        RegionEmbeddings(**write_world(tmp_path, boxes=boxes))


def test_a_store_of_another_source_is_refused(tmp_path: Path) -> None:
    options = write_world(tmp_path)
    path = tmp_path / 'toy.json'
    path.write_text(path.read_text().replace('0' * 64, '1' * 64))
    with pytest.raises(ValueError, match='of different sources'):
        RegionEmbeddings(**options)


def test_boxes_of_novel_classes_are_refused(tmp_path: Path) -> None:
    options = write_world(tmp_path, subset='val')
    with pytest.raises(ValueError, match='training must not see'):
        RegionEmbeddings(**options)


def test_reading_can_wait(tmp_path: Path) -> None:
    dataset = RegionEmbeddings(
        dict(type='GZSLCocoDataset'),
        store=str(tmp_path / 'no'),
        lazy_init=True,
    )
    with pytest.raises(FileNotFoundError):
        RegionEmbeddings(
            **dict(write_world(tmp_path), store=str(tmp_path / 'no'))
        )
    assert not hasattr(dataset, 'embeddings')
