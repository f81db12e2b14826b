"""The miniature world: names, scenes, annotations, crops, resuming."""

import json
import os
from pathlib import Path
from typing import Dict

import numpy as np
import pytest
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO

from ovd.datasets import miniature
from ovd.datasets.miniature import (
    annotate,
    draw_scene,
    encode_mask,
    write_world,
)
from ovd.datasets.miniature_crops import CROPS_PER_SCENE, draw_crops
from ovd.datasets.miniature_names import (
    COLOURS,
    DISTRACTOR_COLOURS,
    DISTRACTOR_SHAPES,
    PATTERNS,
    Look,
    build_vocabulary,
)
from ovd.datasets.miniature_objects import COLOUR_HSV, shape_outline
from ovd.datasets.miniature_scene import MIN_VISIBLE, render_scene

SMALL = dict(seed=3, num_train=5, num_val=3, num_crops=21, num_heldout_crops=8)


def digests(root: Path) -> Dict[str, bytes]:
    """All files below a folder with their content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('world')
    write_world(root, **SMALL)
    return root


def decode(segmentation: object, size: int = 160) -> np.ndarray:
    """Return a mask (H, W) bool, the way pycocotools reads annotations."""
    if isinstance(segmentation, list):
        segmentation = mask_tools.merge(
            mask_tools.frPyObjects(segmentation, size, size)
        )
    return mask_tools.decode(segmentation).astype(bool)


# --- names -----------------------------------------------------------------


def test_vocabulary_has_48_base_and_17_novel_names():
    vocabulary = build_vocabulary()
    groups = vocabulary.groups
    assert len(set(vocabulary.names)) == len(vocabulary.names) == 65
    assert len(vocabulary.base) == 48 and len(vocabulary.novel) == 17
    assert set(vocabulary.base) | set(vocabulary.novel) == set(
        vocabulary.names
    )
    assert {key: len(names) for key, names in groups.items()} == dict(
        novel_attribute=12, novel_combination=5
    )
    assert not set(groups['novel_attribute']) & set(
        groups['novel_combination']
    )


def test_novel_groups_are_what_they_say():
    vocabulary = build_vocabulary()
    base_words = {word for name in vocabulary.base for word in name.split()}
    for name in vocabulary.groups['novel_attribute']:
        assert set(name.split()) - base_words
    for name in vocabulary.groups['novel_combination']:
        assert set(name.split()) <= base_words
    # "plain" is not spoken, so look for it apart.
    patterns = {
        look.pattern
        for look in vocabulary.looks
        if look.name in vocabulary.base
    }
    assert patterns == set(PATTERNS)


def test_position_does_not_tell_base_from_novel():
    vocabulary = build_vocabulary()
    is_novel = [name in vocabulary.novel for name in vocabulary.names]
    changes = np.count_nonzero(np.diff(is_novel))
    assert changes > 10


def test_distractors_have_no_name():
    words = {
        word for name in build_vocabulary().names for word in name.split()
    }
    assert not words & set(DISTRACTOR_COLOURS + DISTRACTOR_SHAPES)
    assert set(COLOURS + DISTRACTOR_COLOURS) == set(COLOUR_HSV)


@pytest.mark.parametrize(
    'look, name',
    [
        (Look('plain', 'red', 'ring'), 'red ring'),
        (Look('striped', 'blue', 'triangle'), 'striped blue triangle'),
    ],
)
def test_plain_is_not_spoken(look: Look, name: str):
    assert look.name == name


# --- scenes ----------------------------------------------------------------


def test_scene_depends_on_seed_subset_and_index_alone():
    def same(a, b):
        return np.array_equal(a.image, b.image)

    scene = draw_scene(0, 'train', 7)
    draw_scene(0, 'train', 8)
    assert same(scene, draw_scene(0, 'train', 7))
    for other in ((1, 'train', 7), (0, 'val', 7), (0, 'train', 6)):
        assert not same(scene, draw_scene(*other))


def test_scenes_keep_the_rules():
    scenes = [draw_scene(0, 'val', i) for i in range(40)]
    counts = [len(scene.labels) for scene in scenes]
    assert min(counts) >= 2 and max(counts) == 5
    for scene in scenes:
        assert scene.image.shape == (160, 160, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.sum(axis=0).max() == 1  # each pixel has one owner
        for mask, (x1, y1, x2, y2) in zip(
            scene.masks, scene.bboxes, strict=True
        ):
            ys, xs = np.nonzero(mask)
            assert (x1, y1, x2, y2) == (
                xs.min(),
                ys.min(),
                xs.max() + 1,
                ys.max() + 1,
            )
    assert any(len(scene.distractors) for scene in scenes)


def test_enough_of_each_object_stays_visible():
    """A covered circle keeps 60 % of the area that its ellipse has."""
    looks = [
        look for look in build_vocabulary().looks if look.shape == 'circle'
    ]
    fractions, hidden = [], 0
    for i in range(60):
        scene = render_scene(np.random.default_rng(i), looks)
        for mask, (x1, y1, x2, y2) in zip(
            scene.masks, scene.bboxes, strict=True
        ):
            # The box may be covered too, so this is an upper bound.
            whole = np.pi / 4 * (x2 - x1) * (y2 - y1)
            fractions.append(mask.sum() / whole)
        hidden += sum(fraction < 0.95 for fraction in fractions)
    assert hidden  # objects do lie on one another
    assert min(fractions) > 0.8 * MIN_VISIBLE


@pytest.mark.parametrize('shape', ['circle', 'ring', 'star', 'square'])
def test_outline_area(shape: str):
    """Areas by the shoelace formula against the shapes' own formulas."""
    area = 0.0
    for outline in shape_outline(shape):
        x, y = outline.T
        area += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    # 48 corners: a polygon has n / 2 sin(2 pi / n) in place of pi
    pi = 24 * np.sin(2 * np.pi / 48)
    expected = dict(
        circle=pi * 0.92**2,
        ring=pi * (1 - 0.5**2),
        star=10 * 0.5 * 1.1 * 0.5 * np.sin(np.pi / 5),
        square=1.68**2,
    )[shape]
    assert area == pytest.approx(expected)


# --- annotations -----------------------------------------------------------


def test_annotations_describe_the_scene():
    for i in range(30):
        scene = draw_scene(1, 'train', i)
        annotations = annotate(scene)
        assert len(annotations) == len(scene.labels)
        for annotation, mask, label in zip(
            annotations, scene.masks, scene.labels, strict=True
        ):
            x, y, w, h = annotation['bbox']
            assert x >= 0 and y >= 0 and w > 0 and h > 0
            assert x + w <= 160 and y + h <= 160
            assert annotation['area'] == mask.sum()
            assert annotation['category_id'] == label + 1
            assert annotation['iscrowd'] == 0
            found = decode(annotation['segmentation'])
            overlap = (found & mask).sum() / (found | mask).sum()
            assert overlap >= 0.95


def test_mask_with_a_hole_becomes_run_lengths():
    mask = np.zeros((160, 160), bool)
    mask[10:30, 20:50] = True
    assert isinstance(encode_mask(mask), list)
    mask[15:20, 30:35] = False
    assert isinstance(encode_mask(mask), dict)
    assert np.array_equal(decode(encode_mask(mask)), mask)


def test_mask_in_two_parts_becomes_two_polygons():
    mask = np.zeros((160, 160), bool)
    mask[10:30, 20:50] = mask[40:60, 20:50] = True
    polygons = encode_mask(mask)
    assert len(polygons) == 2
    assert np.array_equal(decode(polygons), mask)


@pytest.mark.parametrize('subset, count', [('train', 5), ('val', 3)])
def test_files_load_as_coco(world: Path, subset: str, count: int):
    coco = COCO(str(world / 'annotations' / f'instances_{subset}.json'))
    assert coco.getImgIds() == list(range(1, count + 1))
    assert sorted(coco.getCatIds()) == list(range(1, 66))
    names = [coco.cats[i]['name'] for i in range(1, 66)]
    assert names == build_vocabulary().names
    for image in coco.imgs.values():
        assert (world / subset / image['file_name']).is_file()
    first = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    scene = draw_scene(3, subset, 1)
    assert [a['category_id'] for a in first] == (scene.labels + 1).tolist()


def test_split_file(world: Path):
    split = json.loads((world / 'annotations' / '48_17.json').read_text())
    assert split == json.loads(json.dumps(build_vocabulary().split))
    assert set(split) == {'base', 'novel', 'groups'}


# --- crops -----------------------------------------------------------------


def test_crops_have_the_labels_of_their_names(world: Path):
    names = json.loads((world / 'clip_crops' / 'names.json').read_text())
    assert names == ['background'] + build_vocabulary().names
    crops = np.load(world / 'clip_crops' / 'crops.npy', allow_pickle=False)
    labels = np.load(
        world / 'clip_crops' / 'crops_labels.npy', allow_pickle=False
    )
    assert crops.shape == (21, 64, 64, 3) and crops.dtype == np.uint8
    assert labels.shape == (21,)
    # The last scene is cut short; it is the same as on its own.
    rng = np.random.default_rng([3, 2, 2])
    scene = render_scene(rng, build_vocabulary().looks)
    expected, expected_labels = draw_crops(rng, scene)
    assert np.array_equal(crops[16:], expected[:5])
    assert np.array_equal(labels[16:], expected_labels[:5])


def test_crops_show_every_object_and_mostly_one_background():
    backgrounds = 0
    for i in range(20):
        scene = draw_scene(0, 'crops', i)
        crops, labels = draw_crops(np.random.default_rng(i), scene)
        assert len(crops) == len(labels) == CROPS_PER_SCENE
        assert set(labels) - {0} == set(scene.labels + 1)
        backgrounds += (labels == 0).sum()
    assert 15 <= backgrounds <= 20


# --- writing ---------------------------------------------------------------


def test_same_settings_give_the_same_files(world: Path, tmp_path: Path):
    write_world(tmp_path, **SMALL)
    assert digests(tmp_path) == digests(world)


def test_run_is_picked_up_where_it_stopped(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_world(tmp_path, **SMALL)
    complete = digests(tmp_path)
    kept = tmp_path / 'train' / '000001.png'
    before = os.stat(kept).st_mtime_ns
    for name in (
        'train/000002.png',
        'train/000004.png',
        'clip_crops/heldout_crops.npy',
    ):
        (tmp_path / name).unlink()
    drawn = []

    def spy(seed: int, subset: str, index: int):
        drawn.append((subset, index))
        return draw_scene(seed, subset, index)

    monkeypatch.setattr(miniature, 'draw_scene', spy)
    write_world(tmp_path, **SMALL)
    assert drawn == [('train', 1), ('train', 3)]
    assert digests(tmp_path) == complete
    assert os.stat(kept).st_mtime_ns == before


def test_annotations_come_back_without_touching_images(tmp_path: Path):
    write_world(tmp_path, **SMALL)
    complete = digests(tmp_path)
    (tmp_path / 'annotations' / 'instances_train.json').unlink()
    image = tmp_path / 'train' / '000003.png'
    before = os.stat(image).st_mtime_ns
    write_world(tmp_path, **SMALL)
    assert digests(tmp_path) == complete
    assert os.stat(image).st_mtime_ns == before


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(seed=4), 'seed is 3 there, 4 was asked for'),
        (dict(num_val=9), 'num_val is 3 there, 9 was asked for'),
    ],
)
def test_other_settings_are_refused(world: Path, change: dict, message: str):
    before = digests(world)
    with pytest.raises(ValueError, match=message):
        write_world(world, **{**SMALL, **change})
    assert digests(world) == before


@pytest.mark.parametrize('change', [dict(num_train=0), dict(seed=-1)])
def test_impossible_settings_are_refused(tmp_path: Path, change: dict):
    with pytest.raises(ValueError, match=next(iter(change))):
        write_world(tmp_path / 'w', **{**SMALL, **change})
    assert not (tmp_path / 'w').exists()
