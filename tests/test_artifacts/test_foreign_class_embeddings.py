"""Class embeddings of other projects: every published form, and mistakes."""

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.foreign_class_embeddings import (
    arrange_rows,
    read_foreign_table,
)

NAMES = [f'class {i}' for i in range(70)]
ROWS = torch.randn(70, 16, generator=torch.Generator().manual_seed(0)) * 10
UNIT = F.normalize(ROWS, dim=1)
ZERO, OTHER = torch.zeros(1, 16), torch.ones(1, 16)


def save(path, content):
    if path.suffix == '.npy':
        np.save(path, content)
    else:
        torch.save(content, path)
    return path


def load(
    path, names=NAMES, embed_dims=16, background='last', transposed=False
):
    return arrange_rows(
        read_foreign_table(path), names, embed_dims, background, transposed
    )


@pytest.mark.parametrize(
    'name, content, said',
    [
        # DetPro
        (
            'coco.pth',
            ROWS[None],
            'a tensor (1, 70, 16) float32; no background ',
        ),
        (
            'lvis_ens.pth',
            UNIT,
            'tensor (70, 16) float32; no background row; rows of unit norm',
        ),
        (
            'lvis_clip_text_embedding.pt',
            UNIT * 0.5,
            'norms 0.5 to 0.5, made 1',
        ),
        (
            'learn.pth',
            torch.cat([ROWS, OTHER])[None],
            'row 71 of 71 is taken for the background and left out',
        ),
        ('parameter.pth', torch.nn.Parameter(ROWS), 'tensor (70, 16)'),
        # RegionCLIP, in half precision
        ('coco_65_cls_emb.pth', ROWS.double(), 'tensor (70, 16) float64'),
        # OVDET, Detic, TPU
        (
            'hand_craft.npy',
            UNIT.numpy(),
            'array (70, 16) float32; no background',
        ),
        (
            'zeros.npy',
            torch.cat([ROWS, ZERO]).numpy(),
            'row 71 of 71, all zeros, is the background and left out',
        ),
        (
            'synonym.npy',
            ROWS.T.numpy(),
            'array (16, 70) float32, transposed; no ',
        ),
        (
            'synonym_bg.npy',
            torch.cat([ROWS, OTHER]).T.numpy(),
            'array (16, 71) float32, transposed; row 71 of 71 is taken',
        ),
    ],
)
def test_forms_without_names(tmp_path, name, content, said):
    found, form = load(save(tmp_path / name, content))
    assert said in form
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, UNIT)
    assert read_foreign_table(tmp_path / name).names is None


@pytest.mark.parametrize('name', ['a.npy', 'a.pth'])
def test_half_precision(tmp_path, name):
    content = ROWS.half()
    found, form = load(
        save(tmp_path / name, content.numpy() if name == 'a.npy' else content)
    )
    assert 'float16' in form
    assert torch.equal(found, F.normalize(content.float(), dim=1))


@pytest.mark.parametrize(
    'first, background, said',
    [
        (ZERO, 'last', 'row 1 of 71, all zeros, is the background'),
        (OTHER, 'first', 'row 1 of 71 is taken for the background'),
    ],
)
def test_background_row_that_comes_first(tmp_path, first, background, said):
    path = save(tmp_path / 'a.pth', torch.cat([first, ROWS]))
    found, form = load(path, background=background)
    assert said in form
    torch.testing.assert_close(found, UNIT)


@pytest.mark.parametrize('kind', [list, tuple])
def test_names_in_the_file(tmp_path, kind):
    """OADP's form; what else its classifiers hold is dropped and said."""
    path = save(
        tmp_path / 'ml_coco.pth',
        dict(
            embeddings=ROWS,
            names=kind(NAMES),
            scaler=torch.tensor(20.0),
            bias=torch.tensor(4.0),
        ),
    )
    table = read_foreign_table(path)
    assert table.names == NAMES
    found, form = arrange_rows(table, table.names, 16)
    assert form.startswith(
        'a dict of embeddings (70, 16) float32 and 70 names, without its '
        'scaler, bias; no background row'
    )
    torch.testing.assert_close(found, UNIT)


@pytest.mark.parametrize('key', ['path', 'content', 'self', 3, None, (1,)])
def test_any_other_key(tmp_path, key):
    path = save(tmp_path / 'a.pth', {'embeddings': ROWS, key: 1})
    assert read_foreign_table(path).form == (
        f'a dict of embeddings (70, 16) float32, without its {key}'
    )
    path = save(
        tmp_path / 'b.pth', {'embeddings': ROWS, **{i: 1 for i in range(11)}}
    )
    assert read_foreign_table(path).form.endswith(
        ', without its 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...'
    )


@pytest.mark.parametrize('rows', [ROWS[:1], ROWS[None, :1], ROWS[:1].T])
def test_one_class(tmp_path, rows):
    found, _ = load(save(tmp_path / 'a.pth', rows), NAMES[:1])
    torch.testing.assert_close(found, UNIT[:1])


@pytest.mark.parametrize('extra', [None, ZERO, OTHER])
def test_square_tables(tmp_path, extra):
    """Which way they lie is told by unit norms, by the user, or guessed."""
    names = NAMES[: 16 if extra is None else 15]
    rows = ROWS[: len(names)]

    def load_square(table, **kwargs):
        square = table if extra is None else torch.cat([table, extra])
        if kwargs.pop('turn', False):
            square = square.T.contiguous()
        return load(save(tmp_path / 'a.pth', square), names, **kwargs)

    unit, guessed = UNIT[: len(names)], 'square: rows taken for classes; say '
    for table, kwargs, said in (
        (unit, {}, 'square: rows taken for classes, as they alone have unit '),
        (
            unit,
            dict(turn=True),
            'transposed; square: columns taken for '
            'classes, as they alone have unit norm',
        ),
        (unit, dict(turn=True, transposed=True), 'transposed as told; '),
        (rows, {}, guessed + '--transposed if columns are'),
        (rows, dict(turn=True, transposed=True), 'transposed as told; '),
    ):
        found, form = load_square(table, **kwargs)
        assert said in form
        torch.testing.assert_close(found, unit)
    found, form = load_square(rows, turn=True)
    assert guessed in form and not torch.allclose(found, unit)


def test_square_of_unit_norms_both_ways(tmp_path):
    """Rows are classes; so are columns where the user says so."""
    turned = torch.eye(16)[[*range(1, 16), 0]]
    path = save(tmp_path / 'a.pth', turned)
    found, form = load(path, NAMES[:16])
    assert torch.equal(found, turned) and 'square: rows taken for' in form
    found, form = load(path, NAMES[:16], transposed=True)
    assert torch.equal(found, turned.T) and 'square' not in form


def test_transposed_on_demand(tmp_path):
    path = save(tmp_path / 'a.npy', ROWS.T.numpy())
    found, form = load(path, transposed=True)
    assert form.startswith('an array (16, 70) float32, transposed as told; ')
    torch.testing.assert_close(found, UNIT)
    with pytest.raises(
        ValueError,
        match=r'a.pth holds a tensor \(70, 16\) '
        r'float32, which transposed is \(16, 70\), expected '
        r'\(70, 16\), .*; it fits as it is: leave '
        '--transposed out$',
    ):
        load(save(tmp_path / 'a.pth', ROWS), transposed=True)
    with pytest.raises(
        ValueError,
        match=r'is \(16, 70\), expected '
        r'\(40, 16\), or \(41, 16\) with a background$',
    ):
        load(tmp_path / 'a.pth', NAMES[:40], transposed=True)


def test_learned_prompts_are_told_apart(tmp_path):
    """(8, 16) is a prompt, or embeddings of 8 classes if there are 8."""
    path = save(tmp_path / 'iou_prompt.pth', ROWS[:8])
    assert read_foreign_table(path).may_be_prompt
    with pytest.raises(
        ValueError,
        match='learned prompt of 8 tokens: '
        'python tools/class_embeddings.py learned --prompt '
        f'{path}',
    ):
        load(path)
    assert load(path, NAMES[:8])[0].shape == (8, 16)
    with pytest.raises(ValueError, match='may be a learned prompt'):
        load(path, NAMES[:8], embed_dims=12)
    for other in (ROWS, UNIT[:8]):  # too long; of unit norm
        assert not read_foreign_table(
            save(tmp_path / 'other.pth', other)
        ).may_be_prompt


@pytest.mark.parametrize(
    'content, names, message',
    [
        (
            ROWS,
            NAMES[:40],
            r'\(70, 16\) float32, expected \(40, 16\), or '
            r'\(41, 16\) with a background, or one of them transposed$',
        ),
        (ROWS[:, :12], NAMES, r'\(70, 12\) float32, expected \(70, 16\)'),
        (
            torch.cat([ROWS, ZERO, ZERO]),
            NAMES,
            r'\(72, 16\) float32, expected',
        ),
    ],
)
def test_other_shapes(tmp_path, content, names, message):
    path = save(tmp_path / 'a.pth', content)
    with pytest.raises(ValueError, match=f'a.pth holds a tensor {message}'):
        load(path, names)


@pytest.mark.parametrize(
    'value, said',
    [
        (float('nan'), 'NaN or infinite'),
        (float('inf'), 'NaN or infinite'),
        (0.0, 'only zeros'),
    ],
)
def test_rows_that_have_no_direction(tmp_path, value, said):
    rows = ROWS.clone()
    rows[3] = value
    path = save(tmp_path / 'a.pth', rows)
    with pytest.raises(
        ValueError, match=f'a.pth: the row of "class 3" .*{said}'
    ):
        load(path)


@pytest.mark.parametrize(
    'content, message',
    [
        (
            dict(
                names=['a'], embeddings=torch.eye(1, 3), clip={}, templates='x'
            ),
            "is in ovd's own form already",
        ),
        (dict(state_dict={}, meta={}), 'a dict of state_dict, meta, expected'),
        ({i: i for i in range(10)}, 'a dict of 0, 1, .*, 8, 9, expected'),
        (
            {f'{i}.weight': i for i in range(99)},
            'a dict of 0.weight, .*8.weight, 9.weight, ..., expected an array',
        ),
        ({}, 'a dict of nothing, expected'),
        (
            dict(embeddings=ROWS, bboxes=ROWS, objectness=ROWS),
            "is OADP's embeddings of proposals, not of classes",
        ),
        (
            dict(embeddings=torch.eye(2), names=['a', 'a']),
            r"must differ, several times: \['a'\]",
        ),
        (
            dict(embeddings=torch.eye(2), names=['a', 3]),
            'must be non-empty str',
        ),
        (dict(embeddings=torch.eye(2), names='ab'), 'names must be a list'),
        (
            dict(embeddings=torch.eye(2), names=dict(a=1)),
            'names must be a list',
        ),
        (dict(embeddings=torch.eye(1), names=[]), 'a list, got an empty one'),
        (
            dict(embeddings=[[1.0]], names=['a']),
            'embeddings in content of type',
        ),
        ([1.0, 2.0], 'holds content of type list, expected an array'),
        (torch.eye(3).long(), r'a tensor \(3, 3\) int64'),
        (torch.ones(3), r'a tensor \(3,\) float32'),
        (torch.ones(2, 3, 4), r'a tensor \(2, 3, 4\) float32'),
        (torch.ones(0, 4), r'a tensor \(0, 4\) float32'),
    ],
)
def test_other_content(tmp_path, content, message):
    path = save(tmp_path / 'a.pth', content)
    with pytest.raises(ValueError, match=f'a.pth.* {message}'):
        read_foreign_table(path)


def test_file_of_ours(tmp_path):
    ClassEmbeddings(
        ['a'], torch.eye(1, 4), dict(name='RN50', sha256='0' * 64), 'vild'
    ).save(tmp_path / 'vild.pth')
    with pytest.raises(ValueError, match='own form already: use it as it is'):
        read_foreign_table(tmp_path / 'vild.pth')


def test_nothing_in_a_file_is_run(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([os.getcwd], object))
    save(tmp_path / 'a.pth', os.getcwd)
    for name, message in (
        ('a.npy', 'is damaged, or no array of numbers'),
        ('a.pth', 'is not opened, because that could run'),
    ):
        with pytest.raises(ValueError, match=f'{name} {message}'):
            read_foreign_table(tmp_path / name)


@pytest.mark.parametrize('name', ['a.npy', 'a.pth'])
@pytest.mark.parametrize('length', [0, 5, -1, -1000])
def test_damaged(tmp_path, name, length):
    path = save(tmp_path / name, ROWS.numpy() if name == 'a.npy' else ROWS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=f'{name} is damaged, or no '):
        read_foreign_table(path)


def test_missing_or_of_another_suffix(tmp_path):
    save(tmp_path / 'coco.npy', ROWS.numpy())
    with pytest.raises(FileNotFoundError, match='did you mean "coco.npy"'):
        read_foreign_table(tmp_path / 'cocoo.npy')
    (tmp_path / 'coco.pkl').touch()
    with pytest.raises(ValueError, match=r'expected .npy, .pth or .pt'):
        read_foreign_table(tmp_path / 'coco.pkl')
