"""Who is close to whom, and two files side by side, from the command line."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.colours import BASE_COLOUR, NOVEL_COLOUR
from ovd.datasets.gzsl_splits import NAMED_SPLITS

TOOL = (
    Path(__file__).resolve().parents[2]
    / 'tools'
    / 'analysis'
    / 'class_embeddings.py'
)
CLIP, OTHER = (
    dict(name=name, sha256=digit * 64)
    for name, digit in (('ViT-B/32', '0'), ('RN50', '1'))
)
# In degrees: the cosine of two classes is that of the difference.
ANGLES = dict(horse=0, cow=10, cat=30, lamp=45, bus=75, car=90)
MINE = dict(base=['horse', 'car'], novel=['cow', 'cat', 'bus'])
FOLDER = Path('work_dirs/class_embeddings/a')


def save(path: str, angles: dict, clip: dict = CLIP) -> str:
    radians = torch.deg2rad(torch.tensor([*angles.values()]).float())
    ClassEmbeddings(
        [*angles], torch.stack([radians.cos(), radians.sin()], 1), clip, 'vild'
    ).save(path)
    return path


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A working folder with class embeddings and a split of them."""
    monkeypatch.chdir(tmp_path)
    save('a.pth', ANGLES)
    Path('mine.json').write_text(json.dumps(MINE))
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the tool; return what it prints, or the error it exits with."""

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            if error.code != 2:
                return error.code
            return capsys.readouterr().err
        return capsys.readouterr().out

    return call


def table(out: str, head: str) -> list:
    """Return the rows of the printed table that begins with a head."""
    lines = out[out.index(f'| {head}') :].splitlines()
    rows = lines[2 : lines.index(lines[1], 2)]
    return [
        [cell.strip() for cell in row.strip('|').split('|')] for row in rows
    ]


def read(path: Path) -> list:
    with open(path) as file:
        return [*csv.reader(file)]


def count_colour(path: Path, colour: str) -> int:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.asarray(Image.open(path).convert('RGB')) == rgb).all(2).sum()


def test_base_and_novel(run):
    """Pairs, neighbours and picture; lamp is neither and is named."""
    out = run('a.pth', '--split', 'mine.json', '--top', 3)
    assert (
        'a.pth: 6 classes of 2 numbers, CLIP ViT-B/32, templates vild' in out
    )
    angles = np.array([*ANGLES.values()])
    cosines = np.cos(np.deg2rad(angles[:, None] - angles))
    pairs = cosines[np.triu_indices(6, 1)]
    assert table(out, 'cosines between')[0] == [
        'a.pth',
        *(
            f'{value:.3f}'
            for value in (
                pairs.mean(),
                pairs.min(),
                *np.percentile(pairs, [5, 25, 50, 75, 95]),
                pairs.max(),
            )
        ),
    ]
    assert 'split mine: 2 base and 3 novel classes' in out
    assert '1 of 6 classes are neither base nor novel: left out: lamp' in out
    assert table(out, 'novel class') == [
        ['cow', 'horse', '0.985'],
        ['bus', 'car', '0.966'],
        ['cat', 'horse', '0.866'],
    ]
    assert read(FOLDER / 'neighbours.csv') == [
        [
            'class',
            'nearest_base',
            'cosine_base',
            'nearest_novel',
            'cosine_novel',
        ],
        ['cow', 'horse', '0.9848', 'cat', '0.9397'],
        ['cat', 'horse', '0.8660', 'cow', '0.9397'],
        ['bus', 'car', '0.9659', 'cat', '0.7071'],
    ]
    for colour in (BASE_COLOUR, NOVEL_COLOUR):
        assert count_colour(FOLDER / 'heat_map.png', colour) > 1000
    assert out.splitlines()[-2:] == [
        str(FOLDER / 'heat_map.png'),
        str(FOLDER / 'neighbours.csv'),
    ]
    assert {path.name for path in FOLDER.iterdir()} == {
        'heat_map.png',
        'neighbours.csv',
    }


def test_published_split_needs_no_annotations(run):
    """Names alone are compared, whatever else the file has."""
    names = [
        *NAMED_SPLITS['48_17']['base'],
        'oboe',
        *NAMED_SPLITS['48_17']['novel'],
    ]
    save('a.pth', {name: 2 * i for i, name in enumerate(names)})
    out = run('a.pth', '--split', '48_17')
    assert 'split 48_17: 48 base and 17 novel classes' in out
    assert '1 of 66 classes are neither base nor novel: left out: oboe' in out
    assert len(table(out, 'novel class')) == 20
    assert table(out, 'novel class')[0] == [
        'airplane',
        'toothbrush',
        f'{np.cos(np.deg2rad(4)):.3f}',
    ]


def test_split_file_of_the_splitter(run):
    """Its `gzsl` block says what is base and novel."""
    Path('val.json').write_text(
        json.dumps(
            dict(
                gzsl=dict(split='own', **MINE),
                images=[],
                annotations=[],
                categories=[
                    dict(id=i, name=name) for i, name in enumerate(ANGLES)
                ],
            )
        )
    )
    out = run('a.pth', '--ann-file', 'val.json', '--out-dir', 'here')
    assert 'split own: 2 base and 3 novel classes' in out
    assert table(out, 'novel class')[0] == ['cow', 'horse', '0.985']
    assert Path('here/heat_map.png').is_file()


def test_without_split(run):
    out = run('a.pth', '--top', '2')
    assert table(out, 'class') == [
        ['horse', 'cow', '0.985'],
        ['cat', 'lamp', '0.966'],
    ]
    assert '--split or --ann-file say which are base and novel' in out
    assert read(FOLDER / 'neighbours.csv')[:2] == [
        ['class', 'nearest', 'cosine'],
        ['horse', 'cow', '0.9848'],
    ]
    assert count_colour(FOLDER / 'heat_map.png', NOVEL_COLOUR) == 0


def test_agreement(run):
    """By name, whatever the order; what one file lacks is named."""
    save('b.pth', dict(car=93, bus=75, horse=2, sun=40, cow=14))
    out = run('a.pth', 'b.pth')
    assert '4 classes are in both files' in out
    assert 'in a.pth only (2): cat, lamp\n' in out
    assert 'in b.pth only (1): sun\n' in out
    assert 'same nearest class among them: 100.0%\n' in out
    assert "(Spearman's) of the cosines between them: 1.000" in out
    assert 'mean 0.999, lowest 0.998' in out
    assert [row[0] for row in table(out, 'class that differs')] == [
        'cow',
        'car',
        'horse',
        'bus',
    ]
    assert read(FOLDER / 'agreement.csv') == [
        ['class', 'file', 'nearest_first', 'nearest_second', 'cosine'],
        ['horse', 'both', 'cow', 'cow', '0.9994'],
        ['cow', 'both', 'horse', 'horse', '0.9976'],
        ['bus', 'both', 'car', 'car', '1.0000'],
        ['car', 'both', 'bus', 'bus', '0.9986'],
        ['cat', 'first', '', '', ''],
        ['lamp', 'first', '', '', ''],
        ['sun', 'second', '', '', ''],
    ]
    with Image.open(FOLDER / 'agreement.png') as picture:
        wide = picture.width
    save('b.pth', ANGLES, OTHER)
    out = run('a.pth', 'b.pth')
    assert (
        'of two CLIPs: the cosine of a class in the one and in the '
        'other means nothing and is left out' in out
    )
    assert 'same nearest class among them: 100.0%' in out
    assert 'lowest 0' not in out and 'lowest 1' not in out
    assert read(FOLDER / 'agreement.csv')[1][2:] == ['cow', 'cow', '']
    with Image.open(FOLDER / 'agreement.png') as picture:
        assert picture.width < wide


def test_all_cosines_equal(run):
    """Nothing to rank and no range to draw, and no failure."""
    ClassEmbeddings(list('abcd'), torch.eye(4), CLIP, 'vild').save('b.pth')
    out = run('b.pth', 'b.pth')
    assert 'undefined, those of a file are all equal' in out
    assert 'mean 1.000, lowest 1.000' in out


@pytest.mark.parametrize(
    'arguments, message',
    [
        (
            ('a.pht',),
            'class embeddings a.pht does not exist; did you mean "a.pt',
        ),
        (('a.pth', 'b.pth'), 'class embeddings b.pth does not exist'),
        (('mine.json',), 'mine.json'),
        (('a.pth', '--split', '48_71'), 'did you mean "48_17"'),
        (('a.pth', '--split', '48_17'), 'lack:'),
        (('a.pth', '--split', '866_337'), 'frequency'),
        (('a.pth', '--split', 'mein.json'), 'did you mean "mine.json"'),
        (('a.pth', '--ann-file', 'mine.json'), 'categories'),
        (('a.pth', '--top', '0'), '--top must be at least 1, got 0'),
        (('one.pth',), 'one.pth has one class, expected at least two'),
        (('a.pth', 'one.pth'), 'one.pth has one class, expected at least two'),
        (('a.pth', 'far.pth'), 'a.pth and far.pth share no classes'),
        (('far.pth', '--split', 'none.json'), 'no novel class'),
    ],
)
def test_error(run, arguments, message):
    """One line or two, and nothing is written."""
    save('one.pth', dict(cow=1))
    save('far.pth', dict(sun=1, moon=2, star=3))
    Path('none.json').write_text('{"base": ["sun"], "novel": []}')
    error = run(*arguments)
    assert error.startswith('error: ') and message in error
    assert not Path('work_dirs').exists()


def test_help(run, capsys):
    assert run('-h') == 0
    assert 'examples:' in capsys.readouterr().out


def test_each_file_has_a_folder_of_its_own(run, root):
    """Many files are called vild.pth; that of another place is not lost."""
    for folder in ('data/coco', 'data/voc', '../elsewhere'):
        Path(folder).mkdir(parents=True)
        run(save(f'{folder}/vild.pth', ANGLES))
    run(save(str(root / 'b.pth'), ANGLES))
    pictures = Path('work_dirs/class_embeddings')
    assert {
        str(path.parent.relative_to(pictures))
        for path in pictures.rglob('heat_map.png')
    } == {
        'data/coco/vild',
        'data/voc/vild',
        'elsewhere/vild',
        str((root / 'b').relative_to(root.anchor)),
    }
