"""The splitter from the command line."""

import json
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'build_zsl_dataset.py'


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ('train', 'val'):
        (tmp_path / f'{name}.json').write_text(
            json.dumps(
                dict(
                    images=[dict(id=1), dict(id=2)],
                    annotations=[
                        dict(id=i, image_id=i, category_id=i) for i in (1, 2)
                    ],
                    categories=[
                        dict(id=1, name='cat', frequency='f'),
                        dict(id=2, name='boat', frequency='r'),
                    ],
                )
            )
        )
    (tmp_path / 'my.json').write_text('{"base": ["cat"], "novel": ["boat"]}')
    path = tmp_path / 'data.py'
    path.write_text(
        ''.join(
            f'{name}_dataloader = '
            f'dict(dataset=dict(data_root={str(tmp_path)!r}, '
            f'ann_file="{name}.json"))\n'
            for name in ('train', 'val')
        )
    )
    return path


def test_split_again_and_verify(tmp_path, config, monkeypatch, capsys):
    """Both files are written, found up to date, and verified."""
    arguments = config, '--split', tmp_path / 'my.json'
    run(monkeypatch, *arguments)
    train, val = (tmp_path / f'{n}_my_1.json' for n in ('train', 'val'))
    assert f'{train} written' in capsys.readouterr().out
    assert len(json.loads(train.read_text())['images']) == 1
    assert len(json.loads(val.read_text())['images']) == 2
    run(monkeypatch, *arguments)
    out = capsys.readouterr().out
    assert f'{train} is up to date' in out and f'{val} is up to date' in out
    assert (
        '| train_my_1.json | 1      | 1       | 1           | 1       |' in out
    )
    run(monkeypatch, '--verify', train, val)
    assert capsys.readouterr().out.count('no leak') == 2
    run(monkeypatch, *arguments, '--min-annotations', '0', '--overwrite')
    assert (tmp_path / 'train_my_0.json').is_file()


def test_lvis_val_needs_no_split(config, monkeypatch, capsys, tmp_path):
    """The tool says so and writes nothing."""
    from ovd.datasets import gzsl_splits

    monkeypatch.setitem(gzsl_splits.FREQUENCY_SPLITS, '866_337', (1, 1))
    run(monkeypatch, config, '--split', '866_337')
    out = capsys.readouterr().out
    assert f'{tmp_path / "val.json"} needs no split' in out
    assert (tmp_path / 'train_866_337_1.json').is_file()
    assert not (tmp_path / 'val_866_337_1.json').exists()


def test_leak_ends_with_code_1(tmp_path, config, monkeypatch, capsys):
    """The first offending id is in the message."""
    run(monkeypatch, config, '--split', tmp_path / 'my.json')
    path = tmp_path / 'train_my_1.json'
    content = json.loads(path.read_text())
    content['annotations'].append(dict(id=9, image_id=1, category_id=2))
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, '--verify', path)
    assert error.value.code == 1
    assert 'error: annotation 9' in capsys.readouterr().err


def test_every_file_is_verified(tmp_path, config, monkeypatch, capsys):
    """One bad file does not hide the others; the code is 1 all the same."""
    run(monkeypatch, config, '--split', tmp_path / 'my.json')
    train, val = (tmp_path / f'{n}_my_1.json' for n in ('train', 'val'))
    capsys.readouterr()
    with pytest.raises(SystemExit) as error:
        run(
            monkeypatch,
            '--verify',
            tmp_path / 'train.json',
            train,
            tmp_path / 'no.json',
            val,
        )
    said = capsys.readouterr()
    assert error.value.code == 1 and said.out.count('no leak') == 2
    assert re.search(
        'error: .*train.json has no `gzsl` block.*'
        'error: annotation file .*no.json does not exist',
        said.err,
        re.DOTALL,
    )


def test_all_sources_must_be_there(tmp_path, config, monkeypatch, capsys):
    """Train is not split in vain where val is missing."""
    (tmp_path / 'val.json').unlink()
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, config, '--split', tmp_path / 'my.json')
    assert error.value.code == 2
    assert (
        f'annotation file {tmp_path / "val.json"} does not exist'
        in capsys.readouterr().err
    )
    assert not (tmp_path / 'train_my_1.json').exists()


def test_interrupted(tmp_path, config, monkeypatch, capsys):
    """Ctrl-C ends with a line and the code of shells."""
    from ovd.datasets import gzsl_split

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gzsl_split, '_write_objects', interrupt)
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, config, '--split', tmp_path / 'my.json')
    assert error.value.code == 130
    assert 'interrupted' in capsys.readouterr().err
    assert not list(tmp_path.glob('*_my_1*')) and not list(tmp_path.glob('.*'))


@pytest.mark.parametrize('name, code', [('SIGTERM', 143), ('SIGINT', 130)])
def test_stopped(tmp_path, config, name, code):
    """A signal to the true process leaves a line and no hidden file."""
    program = f"""
import runpy, sys, time
sys.modules['mmdet'] = None  # starts in no time
from ovd.datasets import gzsl_split
def wait(file, objects):
    file.write(b'half of')
    file.flush()
    print('writing', flush=True)
    time.sleep(60)
gzsl_split._write_objects = wait
runpy.run_path({str(TOOL)!r}, run_name='__main__')
"""
    with subprocess.Popen(
        [
            sys.executable,
            '-c',
            program,
            config,
            '--split',
            tmp_path / 'my.json',
        ],
        cwd=TOOL.parents[1],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout.readline() == 'writing\n'
        assert list(tmp_path.glob('.*.tmp'))
        child.send_signal(getattr(signal, name))
        _, message = child.communicate(timeout=30)
    assert child.returncode == code
    assert message.startswith('interrupted: ') and message.count('\n') == 1
    assert not list(tmp_path.glob('*_my_1*')) and not list(tmp_path.glob('.*'))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['no.py', '--split', '48_17'], 'config no.py does not exist'),
        (['CONFIG', '--split', '48_71'], 'did you mean "48_17"'),
        (['CONFIG', '--split', '48_17'], 'categories of .* lack'),
        (
            ['CONFIG', '--split', 'no.json'],
            'split file no.json does not exist',
        ),
        (
            ['CONFIG', '--split', '776_454', '--min-annotations', '-2'],
            'must not be negative, got -2',
        ),
    ],
)
def test_errors(config, monkeypatch, capsys, arguments, message):
    """Errors end the tool with one message and no traceback."""
    arguments = [config if a == 'CONFIG' else a for a in arguments]
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, *arguments)
    assert error.value.code == 2
    assert re.search(f'^error: .*{message}', capsys.readouterr().err)


@pytest.mark.parametrize(
    'arguments', [[], ['x.py'], ['x.py', '--verify', 'y.json']]
)
def test_usage(monkeypatch, arguments):
    """A call that cannot be meant ends with the usage."""
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, *arguments)
    assert error.value.code == 2
