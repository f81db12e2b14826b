"""Proposals and embeddings of a store reach the pipeline."""

import json
import warnings

import numpy as np
import pytest
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from torch.utils.data import DataLoader

from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.store_plan import StorePlan

BBOXES = np.array([[0, 0, 2, 2], [1, 2, 5, 4], [3, 3, 9, 6]], np.float32)
EMBEDDINGS = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float16)
SCORES = np.array([0.2, 0.9, 0.5], np.float32)


@pytest.fixture()
def store(tmp_path):
    """A store of image 3 with three proposals and image 7 with none."""
    plan = StorePlan(
        clip=dict(name='c', sha256='c'),
        proposals=dict(file='p', sha256='p'),
        annotations=dict(file='train.json', sha256='a'),
        settings={},
        images_per_shard=10,
        image_ids=[3, 7],
        image_keys=['train/3.jpg', 'train/7.jpg'],
    )
    items = [
        dict(embeddings=EMBEDDINGS[:n], bboxes=BBOXES[:n], scores=SCORES[:n])
        for n in (3, 0)
    ]
    EmbeddingStoreWriter(tmp_path, plan).write_shard(0, items)
    return str(tmp_path)


@pytest.fixture()
def mixed(tmp_path):
    """A store of image 3 with a box of each kind, and of a broken image 7."""
    plan = StorePlan(
        clip=dict(name='c', sha256='c'),
        proposals=dict(file='p', sha256='p'),
        annotations=dict(file='train.json', sha256='a'),
        settings=dict(ground_truth=True, jitter=1, whole_image=False),
        images_per_shard=10,
        image_ids=[3, 7],
        image_keys=['train/3.jpg', 'train/7.jpg'],
    )
    kinds = np.array([0, 1, 2], np.uint8)
    items = [
        dict(
            embeddings=EMBEDDINGS[:n],
            bboxes=BBOXES[:n],
            scores=SCORES[:n],
            kinds=kinds[:n],
        )
        for n in (3, 0)
    ]
    writer = EmbeddingStoreWriter(tmp_path / 'mixed', plan)
    writer.write_shard(0, items, {7: 'OSError: no image'})
    return str(tmp_path / 'mixed')


def _build(**kwargs):
    return TRANSFORMS.build(dict(type='LoadProposalEmbeddings', **kwargs))


@pytest.mark.parametrize(
    'num_max, rows', [(None, [1, 2, 0]), (2, [1, 2]), (5, [1, 2, 0])]
)
def test_best_scores_come_first(store, num_max, rows):
    results = _build(store=store, num_max=num_max)(dict(img_id=3))
    assert isinstance(results['proposals'], HorizontalBoxes)
    np.testing.assert_array_equal(results['proposals'].numpy(), BBOXES[rows])
    np.testing.assert_array_equal(
        results['proposal_embeddings'], EMBEDDINGS[rows]
    )


def test_an_image_without_proposals(store):
    results = _build(store=store)(dict(img_id=7))
    assert results['proposals'].tensor.shape == (0, 4)
    assert results['proposal_embeddings'].shape == (0, 2)


@pytest.mark.parametrize(
    'kinds, num_max, rows',
    [
        (None, None, [0]),  # proposals alone
        (['ground_truth'], None, [1]),
        (['jittered', 'proposal'], None, [2, 0]),
        (['proposal', 'ground_truth', 'jittered'], 2, [1, 2]),
    ],
)
def test_boxes_of_some_kinds(mixed, kinds, num_max, rows):
    chosen = {} if kinds is None else dict(kinds=kinds)
    results = _build(store=mixed, num_max=num_max, **chosen)(dict(img_id=3))
    np.testing.assert_array_equal(results['proposals'].numpy(), BBOXES[rows])
    np.testing.assert_array_equal(
        results['proposal_embeddings'], EMBEDDINGS[rows]
    )


def test_kinds_that_are_none(mixed):
    with pytest.raises(ValueError, match='did you mean "ground_truth"'):
        _build(store=mixed, kinds=['groundtruth'])
    for kinds in ('proposal', []):
        with pytest.raises(ValueError, match='kinds must be a list of prop'):
            _build(store=mixed, kinds=kinds)
    # All images would come without boxes.
    with pytest.raises(
        ValueError,
        match='mixed was made without boxes of '
        'the kind "image", it has: proposal, ground_truth, ji',
    ):
        _build(store=mixed, kinds=['proposal', 'image'])(dict(img_id=3))


def test_a_broken_image_has_no_boxes(mixed):
    results = _build(store=mixed)(dict(img_id=7))
    assert results['proposals'].tensor.shape == (0, 4)
    assert results['proposal_embeddings'].shape == (0, 2)


def test_what_goes_on_may_be_changed(store):
    """The store's own arrays are read-only, and torch warns of those."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        results = _build(store=store)(dict(img_id=3))
    results['proposals'].tensor.add_(1)
    results['proposal_embeddings'][:] = 0
    again = _build(store=store)(dict(img_id=3))
    assert (again['proposals'].numpy() != results['proposals'].numpy()).all()
    assert again['proposal_embeddings'].any()


def test_an_image_that_was_moved_is_refused(store):
    results = dict(img=np.zeros((8, 10, 3), np.uint8), img_id=3)
    moved = TRANSFORMS.build(dict(type='mmdet.Resize', scale=(20, 16)))(
        results
    )
    with pytest.raises(ValueError, match='image 3 was moved .* before LoadP'):
        _build(store=store)(moved)


def test_errors_name_image_or_store(store, tmp_path):
    with pytest.raises(KeyError, match='image 4 is not in'):
        _build(store=store)(dict(img_id=4))
    # Building is no reading: configs build before there is a store.
    transform = _build(store=str(tmp_path / 'none'))
    assert 'none' in repr(transform)
    with pytest.raises(FileNotFoundError, match='FEATURE_EXTRACTOR_CONFIG'):
        transform(dict(img_id=3))
    with pytest.raises(ValueError, match='num_max must be positive'):
        _build(store=store, num_max=0)


def _build_dataset(folder, store):
    """Return images 3 and 7, ten times each, read through the transform."""
    path = folder / 'train.json'
    path.write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.jpg', width=9, height=9)
                    for i in (3, 7)
                ],
                annotations=[],
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
    return DATASETS.build(
        dict(
            type='GZSLCocoDataset',
            ann_file=str(path),
            test_mode=True,
            data_prefix=dict(img='train'),
            indices=[0, 1] * 10,
            pipeline=[_build(store=store)],
        )
    )


@pytest.mark.parametrize('is_open', [False, True])
@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_a_store_together(store, tmp_path, method, is_open):
    """Whether or not the parent has read from it before."""
    dataset = _build_dataset(tmp_path, store)
    if is_open:
        assert len(dataset[0]['proposals']) == 3
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        collate_fn=list,
        multiprocessing_context=method,
    )
    found = [results for batch in loader for results in batch]
    assert [results['img_id'] for results in found] == [3, 7] * 10
    for results in found:
        rows = [1, 2, 0] if results['img_id'] == 3 else []
        np.testing.assert_array_equal(
            results['proposals'].numpy(), BBOXES[rows]
        )
        np.testing.assert_array_equal(
            results['proposal_embeddings'], EMBEDDINGS[rows]
        )
    assert len(dataset[0]['proposals']) == 3  # the parent after them
