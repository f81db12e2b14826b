"""The shell scripts: environments, and the demo's bookkeeping."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / 'tools').glob('*.sh'))
PYTEST = ['-m', 'pytest', '-n', '2', '--dist', 'loadfile']


@pytest.mark.parametrize('script', SCRIPTS)
def test_syntax(script):
    """Every script parses under the machine's sh."""
    subprocess.run(['sh', '-n', ROOT / 'tools' / script], check=True)


@pytest.mark.parametrize(
    'script',
    [
        'demo.sh',
        'dist_train.sh',
        'dist_test.sh',
        'slurm_train.sh',
        'slurm_test.sh',
        'odps_train.sh',
        'odps_test.sh',
    ],
)
def test_usage(clone, script):
    """-h explains and changes nothing; wrong arguments are an error."""
    helped = clone.run(script, '-h')
    assert helped.returncode == 0
    assert helped.stdout.startswith(f'usage: sh tools/{script}')
    assert '\nexample: ' in helped.stdout
    wrong = clone.run(script, '--one')
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f'usage: sh tools/{script}')
    assert not clone.calls()


def test_first_run_installs_and_second_reuses(clone):
    """.venv is made once; pytest gets the options and the root as folder."""
    venv = clone.root / '.venv'
    first = clone.run('run_tests.sh', '-k', 'one or two')
    assert first.returncode == 0, first.stderr
    made, installed, tested = clone.calls()
    assert made == [
        'python3.11',
        str(clone.elsewhere),
        '-m',
        'venv',
        '--clear',
        str(venv),
    ]
    assert installed[1] == str(clone.root)
    assert installed[2:5] == ['-m', 'pip', 'install']
    assert {'torch', 'torchvision', '.[lite,dev,open-clip,demo]'} <= set(
        installed
    )
    last = ['python', str(clone.root), *PYTEST, '-k', 'one or two']
    assert tested == last

    clone.run('run_tests.sh', '-k', 'one or two')
    assert clone.calls() == [last]


def test_installs_again_when_the_versions_change(clone):
    """The environment stays, what is in it is brought up to date."""
    clone.run('run_tests.sh')
    clone.calls()
    with open(clone.root / 'tools' / 'constraints.txt', 'a') as file:
        file.write('new==1.0\n')
    clone.run('run_tests.sh')
    assert not clone.calls('venv --clear')
    clone.run('run_tests.sh')
    assert not clone.calls('pip|install')


def test_takes_up_an_install_that_was_cut_off(clone):
    """A failed install ends the script, and is no install."""
    broken = clone.run('run_tests.sh', BREAK='pip install')
    assert broken.returncode != 0
    assert not clone.calls('-m|pytest')
    assert clone.run('run_tests.sh').returncode == 0
    assert len(clone.calls('pip|install')) == 1


def test_opencv_without_windows_where_there_is_no_libgl(clone):
    """It is laid over the ordinary one, whose name mmengine requires."""
    assert clone.run('run_tests.sh', NO_GL='1').returncode == 0
    assert len(clone.calls('--no-deps|opencv-python-headless')) == 1


@pytest.mark.parametrize('relative', [False, True])
def test_ovd_venv(clone, relative):
    """OVD_VENV says where; a relative path is one from the user's folder."""
    venv = clone.elsewhere / 'my env'
    run = clone.run('run_tests.sh', OVD_VENV=venv.name if relative else venv)
    assert run.returncode == 0, run.stderr
    assert (venv / 'bin' / 'python').exists()
    assert not (clone.root / '.venv').exists()


def test_folder_that_is_no_environment_is_refused(clone):
    """OVD_VENV by mistake on a folder with files leaves it as it was."""
    (clone.elsewhere / 'thesis.tex').write_text('')
    run = clone.run('run_tests.sh', OVD_VENV=clone.elsewhere)
    assert run.returncode != 0
    assert 'is not empty and no virtual environment' in run.stderr
    assert os.listdir(clone.elsewhere) == ['thesis.tex']


@pytest.mark.parametrize('variable', ['VIRTUAL_ENV', 'CONDA_PREFIX'])
def test_active_environment_with_all_that_is_needed(clone, tmp_path, variable):
    """It is used as it is."""
    python = clone.add_python(tmp_path / 'active' / 'bin' / 'python')
    run = clone.run('run_tests.sh', **{variable: python.parents[1]})
    assert run.returncode == 0, run.stderr
    assert 'using the active environment' in run.stderr
    assert [call[2:] for call in clone.calls()] == [PYTEST]
    assert not (clone.root / '.venv').exists()


def test_active_environment_that_lacks_something(clone, tmp_path):
    """It is left alone, the message says why, and .venv is made."""
    python = clone.add_python(tmp_path / 'active' / 'bin' / 'python')
    run = clone.run(
        'run_tests.sh', VIRTUAL_ENV=python.parents[1], FAULTY=f'[{python}]'
    )
    assert run.returncode == 0, run.stderr
    assert 'alone: it has no mmdet' in run.stderr
    assert (clone.root / '.venv' / 'bin' / 'python').exists()
    assert sorted(python.parents[1].rglob('*')) == [python.parent, python]


def test_environment_of_the_user_with_a_torch_is_not_changed(clone, tmp_path):
    """Our versions could break what it was made for."""
    python = clone.add_python(tmp_path / 'mine' / 'bin' / 'python')
    run = clone.run(
        'run_tests.sh',
        OVD_VENV=python.parents[1],
        FAULTY=f'[{python}]',
        HAS_TORCH='1',
    )
    assert run.returncode != 0
    assert 'a torch or mmcv of its own' in run.stderr
    assert not clone.calls()


def test_shim_that_does_not_run_is_passed_over(clone, tmp_path):
    """The first interpreter on the path may be one of pyenv's shims."""
    shim = clone.add_python(tmp_path / 'shims' / 'python3.12')
    shim.write_text('#!/bin/sh\necho "command not found" >&2\nexit 127\n')
    path = f'{shim.parent}:{clone.python.parent}:{os.environ["PATH"]}'
    run = clone.run('run_tests.sh', OVD_PYTHON='', PATH=path)
    assert run.returncode == 0, run.stderr
    assert clone.calls()[0][0] == 'python3.11'


@pytest.mark.parametrize(
    ('probe', 'words'),
    [
        ('bare', 'python3.11 can.t create virtual environments'),
        ('', 'found no Python 3.10 to 3.13'),
    ],
)
def test_no_interpreter_will_do(clone, tmp_path, probe, words):
    """Debian's python3 without python3-venv, or another version."""
    tools = tmp_path / 'tools'
    tools.mkdir()
    for name in (
        'cat',
        'cksum',
        'dirname',
        'flock',
        'ls',
        'mkdir',
        'sh',
        'tail',
    ):
        if shutil.which(name):
            (tools / name).symlink_to(shutil.which(name))
    fake = clone.python.read_text()
    clone.python.write_text(fake.replace('${PROBE:-usable}', probe))
    run = clone.run(
        'run_tests.sh', OVD_PYTHON='', PATH=f'{tools}:{clone.python.parent}'
    )
    assert run.returncode != 0
    assert re.search(words, run.stderr)
    assert 'apt-get install' in run.stderr
    assert 'python3-venv' in run.stderr


@pytest.fixture
def demo(clone):
    """Return a function that runs the demo with three steps of its own."""
    script = clone.root / 'tools' / 'demo.sh'
    head = script.read_text().split("\nstep '")[0]
    script.write_text(
        head
        + '\n'
        + '\n'.join(
            f"step 'Step {name}' {name} python tools/{name}.py $resume"
            for name in ('one', 'two', 'three')
        )
        + '\n'
    )

    def run(**variables: str):
        done = clone.run('demo.sh', OUTPUTS='one two three', **variables)
        return done, [call[2:] for call in clone.calls('tools/')]

    run.root = clone.root
    run.run = lambda *options: clone.run('demo.sh', *options)
    return run


def test_demo_goes_through_all_steps_once(demo):
    """In order, with headings; the second time nothing is left to do."""
    done, calls = demo()
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in calls] == [
        'tools/one.py',
        'tools/two.py',
        'tools/three.py',
    ]
    assert '[2/3] Step two (0:0' in done.stdout
    done, calls = demo()
    assert done.returncode == 0 and not calls
    assert done.stdout.count('done before, reusing') == 3


def test_demo_resumes_what_was_cut_off(demo):
    """The step that failed resumes; those after it start anew."""
    done, calls = demo(BREAK='two.py')
    assert done.returncode == 3
    assert calls[-1] == ['tools/two.py']
    done, calls = demo()
    assert calls == [['tools/two.py', '--resume'], ['tools/three.py']]


def test_demo_redoes_what_rests_on_a_lost_file(demo):
    """Later steps don't reuse what was made of the old file."""
    demo()
    (demo.root / 'two').unlink()
    done, calls = demo(BREAK='three.py')
    assert calls == [['tools/two.py', '--resume'], ['tools/three.py']]
    done, calls = demo()
    assert calls == [['tools/three.py', '--resume']]


def test_demo_stops_at_a_step_that_writes_nothing(demo):
    """A tool that ends well without its file is an error all the same."""
    (demo.root / 'tools' / 'demo.sh').write_text(
        (demo.root / 'tools' / 'demo.sh')
        .read_text()
        .replace('two python', 'elsewhere python')
    )
    done, calls = demo()
    assert done.returncode == 1
    assert 'has not written elsewhere' in done.stderr
    assert len(calls) == 2


def test_demo_calls_tools_and_configs_that_exist():
    """A renamed file would be seen only minutes into the demo."""
    text = (ROOT / 'tools' / 'demo.sh').read_text()
    names = dict(re.findall(r'^(\w+)=([\w./-]+)$', text, re.MULTILINE))
    steps = re.sub(
        r'\$(\w+)',
        lambda found: names.get(found[1], ''),
        text[text.index("\nstep '") :],
    )
    called = re.findall(r'(?:tools|configs)/[\w./-]+\.py', steps)
    assert len(called) > 10
    assert [name for name in called if not (ROOT / name).is_file()] == []


def test_demo_does_not_mix_runs(demo):
    """Another seed or size in the same folder would reuse the old steps."""
    demo()
    run = demo.run('--seed=1')
    assert run.returncode == 1
    assert 'with --seed 0, this one is with --seed 1' in run.stderr
    assert demo.run('--short').returncode == 1
    assert demo.run('--seed=one').returncode == 2
    assert demo.run('a', 'b').returncode == 2
