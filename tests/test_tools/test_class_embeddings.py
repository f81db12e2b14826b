"""Class embeddings from the command line."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import sha256_file
from ovd.clip.loading import load_clip
from ovd.clip.text_encoder import embed_class_names

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'class_embeddings.py'
VILD = Path('data/miniature/prompt/vild.pth')


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch, tiny_clip_path):
    """A working folder with the miniature's annotations and CLIP."""
    monkeypatch.chdir(tmp_path)
    annotations = tmp_path / 'data/miniature/annotations'
    annotations.mkdir(parents=True)
    (annotations / 'instances_val.json').write_text(
        json.dumps(
            dict(categories=[dict(id=2, name='star'), dict(id=1, name='disc')])
        )
    )
    clips = tmp_path / 'pretrained/clip'
    clips.mkdir(parents=True)
    shutil.copy(tiny_clip_path, clips / 'miniature.pt')
    torch.save(dict(text_projection=torch.ones(4, 2)), clips / 'two.pt')
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the tool; return its error, None where it succeeds."""

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            assert error.code == 2
            return capsys.readouterr().err

    return call


def test_dataset(run, capsys):
    assert run('vild', '--dataset', 'miniature') is None
    assert f'{VILD}: 2 classes' in capsys.readouterr().out
    found = ClassEmbeddings.load(VILD)
    clip = load_clip('pretrained/clip/miniature.pt')
    assert found.names == ['star', 'disc'] and found.templates == 'vild'
    assert found.clip == clip.identity
    torch.testing.assert_close(
        found.embeddings, embed_class_names(clip, ['star', 'disc'], 'vild')
    )


def test_other_clip_has_its_name_in_the_file(run, tiny_vit_path):
    assert (
        run('photo', '--dataset', 'miniature', '--pretrained', tiny_vit_path)
        is None
    )
    found = ClassEmbeddings.load('data/miniature/prompt/photo_tiny_vit.pth')
    assert found.clip['sha256'] == sha256_file(tiny_vit_path)
    # the default one, spelt differently, has not
    assert (
        run(
            'photo',
            '--dataset',
            'miniature',
            '--pretrained',
            './pretrained/clip/miniature.pt',
        )
        is None
    )
    assert Path('data/miniature/prompt/photo.pth').is_file()


@pytest.mark.parametrize(
    'source', ['--classes', '--classes-file', '--ann-file']
)
def test_other_names(run, root, source):
    (root / 'names.txt').write_text('red fox\nsnow leopard\n')
    (root / 'ann.json').write_text(
        '{"categories": [{"name": "red fox"}, {"name": "snow leopard"}]}'
    )
    value = {
        '--classes': 'red fox, snow leopard',
        '--classes-file': 'names.txt',
        '--ann-file': 'ann.json',
    }[source]
    assert (
        run(
            'none', source, value, '--dataset', 'miniature', '--out', 'zoo.pth'
        )
        is None
    )
    assert ClassEmbeddings.load('zoo.pth').names == ['red fox', 'snow leopard']


def test_learned_prompts(run, root):
    contexts = torch.randn(2, 4, 64)
    for i, context in enumerate(contexts):
        torch.save(context, f'{i}_prompt.pth')
    assert (
        run(
            'learned',
            '--dataset',
            'miniature',
            '--prompt',
            '0_prompt.pth',
            '1_prompt.pth',
        )
        is None
    )
    found = ClassEmbeddings.load('data/miniature/prompt/learned.pth')
    assert torch.equal(found.contexts, contexts)
    assert [prompt['file'] for prompt in found.settings['prompts']] == [
        '0_prompt.pth',
        '1_prompt.pth',
    ]
    clip = load_clip('pretrained/clip/miniature.pt')
    torch.testing.assert_close(
        found.embeddings,
        embed_class_names(
            clip, ['star', 'disc'], 'learned', contexts=contexts
        ),
    )
    assert (
        run(
            'learned',
            '--dataset',
            'miniature',
            '--prompt',
            '1_prompt.pth',
            '--prompt',
            '0_prompt.pth',
        )
        is None
    )  # reused
    # other prompts are another content
    assert 'exists with other prompts;' in run(
        'learned', '--dataset', 'miniature', '--prompt', '0_prompt.pth'
    )


def test_synonyms(run, root):
    (root / 'ann.json').write_text(
        json.dumps(
            [dict(name='star', synonyms=['star', 'sun']), dict(name='disc')]
        )
    )
    common = ['--dataset', 'miniature', '--synonyms']
    assert run('none', *common, '--ann-file', 'ann.json') is None
    found = ClassEmbeddings.load('data/miniature/prompt/none_synonyms.pth')
    assert found.settings['synonyms'] is not None
    clip = load_clip('pretrained/clip/miniature.pt')
    torch.testing.assert_close(
        found.embeddings,
        embed_class_names(clip, ['star', 'disc'], 'none', [['sun'], []]),
    )
    assert 'instances_val.json have no synonyms' in run('none', *common)
    (root / 'ann.json').write_text(
        json.dumps([dict(name='star', synonyms=['moon']), dict(name='disc')])
    )
    assert 'exists with other synonyms;' in run(
        'none', *common, '--ann-file', 'ann.json'
    )


def test_half_the_precision(run):
    common = ['vild', '--dataset', 'miniature', '--out']
    assert run(*common, 'a.pth') is None
    assert run(*common, 'b.pth', '--precision', 'bf16') is None
    exact, rounded = map(ClassEmbeddings.load, ('a.pth', 'b.pth'))
    assert rounded.settings['precision'] == 'bf16'
    assert (exact.embeddings * rounded.embeddings).sum(dim=1).min() > 0.9999
    assert 'exists with other precision;' in run(*common, 'b.pth')


@pytest.mark.parametrize(
    'dataset, number',
    [('coco', 80), ('voc', 20), ('objects365', 365), ('objects365_v1', 365)],
)
def test_real_datasets_without_their_files(run, dataset, number):
    assert (
        run(
            'none',
            '--dataset',
            dataset,
            '--pretrained',
            'pretrained/clip/miniature.pt',
        )
        is None
    )
    path = Path('data') / dataset / 'prompt/none_miniature.pth'
    assert len(ClassEmbeddings.load(path).names) == number


def test_convert(run, capsys):
    np.save('theirs.npy', np.float16([[3, 4], [0, 2], [0, 0]]))
    assert (
        run(
            'convert',
            'theirs.npy',
            '--classes',
            'star, disc',
            '--pretrained',
            'pretrained/clip/two.pt',
            '--out',
            'a.pth',
        )
        is None
    )
    assert (
        'row 3 of 3, all zeros, is the background' in capsys.readouterr().out
    )
    found = ClassEmbeddings.load('a.pth')
    assert found.names == ['star', 'disc'] and found.templates == 'converted'
    torch.testing.assert_close(
        found.embeddings, torch.tensor([[0.6, 0.8], [0.0, 1]])
    )


def test_same_content_is_reused(run, capsys):
    for _ in range(2):
        assert run('none', '--dataset', 'miniature') is None
    out = capsys.readouterr().out
    assert 'none.pth has these 2 classes already: reused' in out


@pytest.mark.parametrize(
    'changes, message',
    [
        (['none', '--classes', 'cat'], 'exists with other classes;'),
        (['photo', '--classes', 'a, b'], 'exists with other templates;'),
        (
            ['photo', '--classes', 'b, a'],
            'exists with other classes and templates; replace it with '
            '--overwrite',
        ),
    ],
)
def test_other_content_needs_overwrite(run, changes, message):
    common = ['--dataset', 'miniature', '--out', 'a.pth']
    assert run('none', '--classes', 'a, b', *common) is None
    before = sha256_file('a.pth')
    assert message in run(*changes, *common)
    assert sha256_file('a.pth') == before
    assert run(*changes, *common, '--overwrite') is None
    assert sha256_file('a.pth') != before


def test_other_clip_needs_overwrite(run, tiny_vit_path):
    shutil.copy(tiny_vit_path, 'other.pt')
    common = ['none', '--classes', 'a', '--out', 'a.pth', '--pretrained']
    assert run(*common, 'pretrained/clip/miniature.pt') is None
    assert 'exists with other CLIP weights;' in run(*common, 'other.pt')
    Path('a.pth').write_bytes(b'something else')
    assert 'a.pth is damaged' in run(*common, 'other.pt')
    assert run(*common, 'other.pt', '--overwrite') is None


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['vlid'], 'method must be one of .*did you mean "vild"'),
        (['--dataset', 'minature'], 'did you mean "miniature"'),
        (['--classes', 'a'], 'say with --out which file to write'),
        (
            ['--classes', 'a', '--out', 'a.npy'],
            'expected a file .pth to write',
        ),
        (['--classes', 'a', '--out', 'data'], 'expected a file .pth to write'),
        (
            ['--ann-file', 'data/miniature/annotations/instances_val.json'],
            'say with --out',
        ),
        (
            ['--classes', 'a', '--ann-file', 'b.json'],
            '--classes and --ann-file each give class names',
        ),
        (
            ['--classes', 'a, b, a', '--out', 'a.pth'],
            r'--classes "a, b, a": names must differ, several times: \[.a.\]',
        ),
        (['--classes', ' , ', '--out', 'a.pth'], 'has no class names'),
        (
            ['--ann-file', 'no.json', '--out', 'a.pth'],
            'no.json does not exist',
        ),
        (
            ['--dataset', 'miniature', '--pretrained', 'RN5'],
            'did you mean "RN50"',
        ),
        (
            ['--dataset', 'miniature', '--pretrained', 'no.pt'],
            'CLIP weights no.pt does not exist',
        ),
        (
            ['--dataset', 'miniature', '--precision', 'fp31'],
            'did you mean "fp32"',
        ),
        (
            ['learned', '--dataset', 'miniature'],
            'and --prompt go together, got',
        ),
        (
            ['vild', '--prompt', 'a.pth'],
            "'learned' and --prompt go together, got 'vild' and 1 learned",
        ),
        (
            ['learned', '--prompt', 'no.pth'],
            'learned prompt no.pth does not exi',
        ),
        (['vild', 'a.npy'], 'vild takes no FILE'),
        (['vild', '--background', 'last'], 'vild takes no --background'),
        (['convert'], 'convert needs the FILE to convert'),
        (
            ['convert', 'a.npy', '--synonyms', '--precision', 'bf16'],
            'convert takes no --synonyms and no --precision',
        ),
        (
            [
                '--dataset',
                'miniature',
                '--classes',
                'cat ' * 80,
                '--out',
                'a.pth',
            ],
            'too long for CLIP, which reads 77 tokens',
        ),
    ],
)
def test_errors(run, root, arguments, message):
    error = run(*arguments)
    assert error.startswith('error: ')
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)
    assert not list(root.rglob('*.pth'))
