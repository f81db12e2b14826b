"""Cosines of classes and agreement of files, by angles set by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from torch.nn.functional import normalize

from ovd.apis import class_embedding_analysis as analysis
from ovd.apis.class_embedding_agreement import compare_embeddings
from ovd.apis.class_embedding_analysis import (
    Classes,
    check_number,
    choose_classes,
    closest_pairs,
    cosines_of,
    find_neighbours,
    find_split,
    order_by_similarity,
    pair_cosines,
)
from ovd.apis.class_embedding_pictures import (
    draw_agreement,
    draw_heat_map,
    save_picture,
)
from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.datasets.gzsl_splits import Split

DATA = Path(__file__).resolve().parents[3] / 'shared' / 'data'
REAL = DATA / 'class_embeddings'
CLIP, OTHER = (
    dict(name=name, sha256=digit * 64)
    for name, digit in (('ViT-B/32', '0'), ('RN50', '1'))
)
# In degrees: the cosine of two classes is that of the difference.
ANGLES = dict(horse=0, cow=10, cat=30, lamp=45, bus=75, car=90)
SPLIT = Split('mine', ['horse', 'car'], ['cow', 'cat', 'bus'])


def embed(angles: dict, clip: dict = CLIP) -> ClassEmbeddings:
    radians = torch.deg2rad(torch.tensor([*angles.values()]).float())
    return ClassEmbeddings(
        [*angles], torch.stack([radians.cos(), radians.sin()], 1), clip, 'vild'
    )


def cosine(degrees: float) -> object:
    return pytest.approx(np.cos(np.deg2rad(degrees)), abs=1e-6)


def test_cosines():
    """(C, C); each pair of two classes once."""
    found = cosines_of(embed(ANGLES).embeddings)
    assert found.shape == (6, 6)
    assert found[0, 2] == found[2, 0] == cosine(30)
    assert found.max() <= 1
    pairs = pair_cosines(found)
    assert len(pairs) == 15
    assert pairs[:3].tolist() == [cosine(10), cosine(30), cosine(45)]


def test_base_and_novel():
    """The closest pairs are of a novel and a base class; lamp is neither."""
    classes = choose_classes(embed(ANGLES), 'a.pth', SPLIT)
    assert classes.names == ['horse', 'car', 'cow', 'cat', 'bus']
    assert classes.novel_mask.tolist() == [False, False, True, True, True]
    assert classes.left_out == ['lamp']
    assert closest_pairs(classes, 4) == [
        ('cow', 'horse', cosine(10)),
        ('bus', 'car', cosine(15)),
        ('cat', 'horse', cosine(30)),
        ('cat', 'car', cosine(60)),
    ]
    assert len(closest_pairs(classes, 100)) == 6
    assert find_neighbours(classes) == [
        ('cow', 'horse', cosine(10), 'cat', cosine(20)),
        ('cat', 'horse', cosine(30), 'cow', cosine(20)),
        ('bus', 'car', cosine(15), 'cat', cosine(45)),
    ]


def test_without_split():
    """Any two classes, each pair once."""
    classes = choose_classes(embed(ANGLES), 'a.pth', None)
    assert classes.novel_mask is None and classes.left_out == []
    assert closest_pairs(classes, 3) == [
        ('horse', 'cow', cosine(10)),
        ('cat', 'lamp', cosine(15)),
        ('bus', 'car', cosine(15)),
    ]
    assert len(closest_pairs(classes, 100)) == 15
    assert find_neighbours(classes)[:2] == [
        ('horse', 'cow', cosine(10)),
        ('cow', 'horse', cosine(10)),
    ]


def test_one_novel_class_has_no_novel_neighbour():
    classes = choose_classes(
        embed(ANGLES), 'a.pth', Split('mine', ['horse', 'car'], ['bus'])
    )
    assert find_neighbours(classes) == [('bus', 'car', cosine(15), '', '')]


def test_spellings_meet():
    """The split says it in the one way, the file in the other."""
    found = embed({'Bakset': 0, 'Balloon': 20, 'Camel': 90})
    classes = choose_classes(
        found, 'a.pth', Split('mine', ['Basket'], ['Ballon'])
    )
    assert closest_pairs(classes, 1) == [('Ballon', 'Basket', cosine(20))]
    assert classes.left_out == ['Camel']


def test_order_makes_blocks():
    """Two bundles of directions, shuffled: each comes out in one piece."""
    angles = np.array([0, 80, 3, 83, 6, 86, 9, 89])
    found = np.cos(np.deg2rad(angles[:, None] - angles))
    bundle = angles[order_by_similarity(found)] > 45
    assert np.count_nonzero(bundle[1:] != bundle[:-1]) == 1
    for few in (1, 2):
        assert sorted(order_by_similarity(found[:few, :few])) == list(
            range(few)
        )


def rank(values: np.ndarray) -> np.ndarray:
    return np.array([(values < value).sum() for value in values])


def test_agreement():
    """Spearman by differences of ranks, the rest by angles."""
    first = embed(dict(cow=10, horse=0, cat=30, bus=77, car=91, lamp=45))
    second = embed(dict(bus=50, horse=2, car=88, cat=31, tree=10, cow=19))
    found = compare_embeddings(first, second, 'a.pth', 'b.pth')
    assert found.names == ['cow', 'horse', 'cat', 'bus', 'car']
    assert found.only_first == ['lamp'] and found.only_second == ['tree']
    assert found.same_class == pytest.approx(
        np.cos(np.deg2rad([9, 2, 1, 27, 3])), abs=1e-6
    )
    # cow: horse / cat, horse: cow, cat: cow, bus: car / cat, car: bus
    assert found.nearest_first == ['horse', 'cow', 'cow', 'car', 'bus']
    assert found.nearest_second == ['cat', 'cow', 'cow', 'cat', 'bus']
    assert found.same_neighbour == pytest.approx(3 / 5)
    angles = np.array([[10, 0, 30, 77, 91], [19, 2, 31, 50, 88]])
    above = np.triu_indices(5, 1)
    ranks = [rank(-np.abs(a[:, None] - a)[above]) for a in angles]
    squares = ((ranks[0] - ranks[1]) ** 2).sum()
    assert len(set(ranks[0])) == len(set(ranks[1])) == 10  # no ties
    assert found.rank_correlation == pytest.approx(1 - 6 * squares / (10 * 99))
    assert found.first == pytest.approx(
        np.cos(np.deg2rad(angles[0][:, None] - angles[0]))[above], abs=1e-6
    )


def test_agreement_of_two_clips():
    """Their spaces differ: what is between classes of one file is left."""
    found = compare_embeddings(
        embed(ANGLES), embed(ANGLES, OTHER), 'a.pth', 'b.pth'
    )
    assert found.same_class is None
    assert found.same_neighbour == 1
    assert found.rank_correlation == pytest.approx(1)


def test_agreement_of_spellings():
    found = compare_embeddings(
        embed({'Bakset': 0, 'Ballon': 40, 'Camel': 90}),
        embed({'Basket': 0, 'Balloon': 40, 'Campel': 90}),
        'a',
        'b',
    )
    assert found.names == ['Bakset', 'Ballon', 'Camel']
    assert found.only_first == found.only_second == []


def test_rank_correlation_of_equal_cosines_is_undefined():
    orthogonal = ClassEmbeddings(list('abcd'), torch.eye(4), CLIP, 'vild')
    found = compare_embeddings(orthogonal, orthogonal, 'a.pth', 'b.pth')
    assert np.isnan(found.rank_correlation)


@pytest.mark.parametrize(
    'names, message',
    [
        (['sun', 'moon'], 'a.pth and b.pth share no classes, .*sun, moon'),
        (['cow', 'moon'], 'share 1 class, expected at least 3'),
        (['cow', 'horse', 'moon'], 'share 2 classes, '),
    ],
)
def test_too_little_in_both(names, message):
    other = embed({name: 20 * i for i, name in enumerate(names)})
    with pytest.raises(ValueError, match=message):
        compare_embeddings(embed(ANGLES), other, 'a.pth', 'b.pth')


def test_too_few_or_many_classes(monkeypatch):
    with pytest.raises(ValueError, match='a.pth has one class'):
        check_number(embed(dict(cow=1)), 'a.pth')
    monkeypatch.setattr(analysis, 'MOST_CLASSES', 5)
    small, large = embed(dict(cow=1, cat=2, bus=3)), embed(ANGLES)
    for check in (
        lambda: choose_classes(large, 'a.pth', None),
        lambda: compare_embeddings(large, small, 'a.pth', 'b.pth'),
        lambda: compare_embeddings(small, large, 'b.pth', 'a.pth'),
    ):
        with pytest.raises(ValueError, match='a.pth has 6 .* at most 5'):
            check()


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def annotations(path: Path, **extra: object) -> str:
    """Write an annotation file; every third category is rare."""
    categories = [
        dict(id=i, name=name, frequency='fcr'[i % 3])
        for i, name in enumerate(ANGLES)
    ]
    return write(
        path, dict(categories=categories, images=[], annotations=[], **extra)
    )


def test_find_split(tmp_path, monkeypatch):
    """From a list, from an annotation file, from the `frequency`."""
    from ovd.datasets import gzsl_splits

    names = [*ANGLES]
    lists = dict(base=['horse', 'car'], novel=['cow', 'cat', 'bus'])
    file = write(tmp_path / 'mine.json', lists)
    assert find_split(names, 'a.pth', file) == SPLIT
    split = annotations(tmp_path / 'a.json', gzsl=dict(split='mine', **lists))
    assert find_split(names, 'a.pth', None, split) == SPLIT
    monkeypatch.setitem(gzsl_splits.FREQUENCY_SPLITS, '866_337', (4, 2))
    found = find_split(names, 'a.pth', '866_337', split)
    assert found.novel == ['cat', 'car'] and len(found.base) == 4
    assert find_split(names, 'a.pth') is None


@pytest.mark.parametrize(
    'lists, message',
    [
        (dict(base=['cow'], novel=[]), 'has no novel class'),
        (dict(base=['cow'], novel=['cta']), 'did you mean "cat"'),
        (dict(base=['cow'], novel=['cow']), 'base and novel'),
        (dict(base=['cow']), 'is not a split'),
    ],
)
def test_bad_split_file(tmp_path, lists, message):
    with pytest.raises(ValueError, match=message):
        find_split([*ANGLES], 'a.pth', write(tmp_path / 'mine.json', lists))


@pytest.mark.parametrize(
    'block, message',
    [
        (None, 'no `gzsl` block'),
        (dict(split='mine'), 'lacks base, novel'),
        (dict(split='mine', base=['cow'], novel=[]), 'has no novel class'),
    ],
)
def test_bad_annotation_file(tmp_path, block, message):
    path = annotations(tmp_path / 'a.json', gzsl=block)
    with pytest.raises(ValueError, match=message):
        find_split([*ANGLES], 'a.pth', None, path)


def test_unknown_split():
    with pytest.raises(ValueError, match='did you mean "48_17"'):
        find_split([*ANGLES], 'a.pth', '48-17')
    with pytest.raises(ValueError, match='frequency.*--ann-file'):
        find_split([*ANGLES], 'a.pth', '866_337')


def test_class_of_the_split_without_embedding():
    with pytest.raises(ValueError, match='(?s)^a.pth: 1 of 2 .*"lapm"; did'):
        choose_classes(
            embed(ANGLES), 'a.pth', Split('mine', ['cow'], ['lapm'])
        )


def scatter(number: int) -> ClassEmbeddings:
    """Return classes of random directions."""
    names = [f'class_(with a long name of its own) {i}' for i in range(number)]
    generator = torch.Generator().manual_seed(0)
    return ClassEmbeddings(
        names,
        normalize(torch.randn(number, 16, generator=generator)),
        CLIP,
        'vild',
    )


def make_classes(number: int, known: bool = True) -> Classes:
    """Return classes of random directions, every fourth novel."""
    found = scatter(number)
    split = (
        Split(
            'mine',
            [n for i, n in enumerate(found.names) if i % 4],
            found.names[::4],
        )
        if known
        else None
    )
    return choose_classes(found, 'a.pth', split)


@pytest.mark.parametrize('number', [3, 65, 80])
def test_names_of_the_heat_map_can_be_read(number):
    """Base first, no two labels on each other, all within the picture."""
    classes = make_classes(number)
    figure = draw_heat_map(classes, 'the title')
    figure.draw_without_rendering()
    axes = figure.axes[0]
    title = axes.title.get_window_extent()
    assert figure.bbox.contains(title.x0, title.y1)
    assert all(title.y0 > text.get_window_extent().y1 for text in axes.texts)
    for labels, side in (
        (axes.get_yticklabels(), 'y'),
        (axes.get_xticklabels(), 'x'),
    ):
        shown = [label.get_text() for label in labels]
        assert sorted(shown) == sorted(classes.names)
        novel = [int(name.split()[-1]) % 4 == 0 for name in shown]
        assert novel == sorted(novel)
        assert len({label.get_color() for label in labels}) == 2
        boxes = [label.get_window_extent() for label in labels]
        ends = sorted(
            (getattr(box, f'{side}0'), getattr(box, f'{side}1'))
            for box in boxes
        )
        assert all(a[1] <= b[0] + 1 for a, b in zip(ends, ends[1:]))
        assert all(
            figure.bbox.contains(*corner)
            for box in boxes
            for corner in box.corners()
        )


@pytest.mark.parametrize('known', [True, False])
def test_large_heat_map_has_no_names(known):
    figure = draw_heat_map(make_classes(300, known), 'the title')
    assert not figure.axes[0].get_xticklabels()
    assert max(figure.get_size_inches()) < 15


def test_panels_of_agreement():
    """Cosines of the same class are there within one CLIP alone."""
    for clip, panels in ((CLIP, 3), (OTHER, 2)):
        found = compare_embeddings(
            embed(ANGLES), embed(ANGLES, clip), 'a.pth', 'b.pth'
        )
        figure = draw_agreement(found, 'a.pth', 'b.pth')
        assert len(figure.axes) == panels  # one of them is the colour bar


def test_equal_files_can_be_drawn(tmp_path):
    """Cosines of 1 differ in the last digit: too little for bins."""
    found = compare_embeddings(scatter(300), scatter(300), 'a.pth', 'b.pth')
    assert np.ptp(found.same_class) < 1e-6
    save_picture(draw_agreement(found, 'a.pth', 'b.pth'), tmp_path / 'a.png')
    assert (tmp_path / 'a.png').stat().st_size > 1000


def real(file: str, names: list) -> ClassEmbeddings:
    rows = torch.from_numpy(np.load(REAL / file).astype(np.float32))
    return ClassEmbeddings(names, normalize(rows), CLIP, 'photo')


@pytest.mark.skipif(
    not REAL.is_dir(), reason='needs ../shared/data/class_embeddings'
)
def test_real_coco():
    """Novel classes lie by base classes that are alike."""
    names = [*CocoDataset.METAINFO['classes']]
    found = real('coco_clip_a+cname.npy', names)
    classes = choose_classes(found, 'a', find_split(names, 'a', '48_17'))
    assert len(classes.names) == 65 and len(classes.left_out) == 15
    pairs = {pair[:2] for pair in closest_pairs(classes, 20)}
    assert pairs >= {
        ('bus', 'truck'),
        ('bus', 'train'),
        ('cow', 'sheep'),
        ('cow', 'horse'),
        ('knife', 'fork'),
        ('cup', 'bowl'),
        ('snowboard', 'skis'),
        ('keyboard', 'laptop'),
    }
    nearest = {row[0]: row[1] for row in find_neighbours(classes)}
    assert nearest['skateboard'] == 'surfboard'
    assert nearest['cake'] == 'pizza' and nearest['couch'] == 'bench'


@pytest.mark.skipif(
    not REAL.is_dir(), reason='needs ../shared/data/class_embeddings'
)
def test_real_lvis(tmp_path):
    """Rare classes by `frequency`; agreement with COCO's words."""
    categories = json.loads((DATA / 'lvis_v1_categories.json').read_text())
    ann_file = write(
        tmp_path / 'lvis.json',
        dict(categories=categories, images=[], annotations=[]),
    )
    names = [category['name'] for category in categories]
    found = real('lvis_v1_clip_a+cname.npy', names)
    split = find_split(names, 'a', '866_337', ann_file)
    classes = choose_classes(found, 'a', split)
    assert classes.novel_mask.sum() == 337 and not classes.left_out
    assert len(find_neighbours(classes)) == 337
    coco = real('coco_clip_a+cname.npy', [*CocoDataset.METAINFO['classes']])
    both = compare_embeddings(coco, found, 'coco', 'lvis')
    assert len(both.names) == 51 and 'truck' in both.names
    assert both.same_class.min() > 0.99
    assert both.rank_correlation > 0.99 and both.same_neighbour > 0.9
