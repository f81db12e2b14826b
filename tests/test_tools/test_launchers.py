"""What the launchers start, with torchrun or with Slurm."""

import pytest


def test_dist_train(clone):
    """Torchrun on a free port, where it is called, options untouched."""
    run = clone.run(
        'dist_train.sh', 'my config.py', '2', '--cfg-options', 'a.b=c d'
    )
    assert run.returncode == 0, run.stderr
    assert clone.calls() == [
        [
            'python3.11',
            str(clone.elsewhere),
            str(clone.root / 'tools' / 'torchrun.py'),
            '--nproc-per-node',
            '2',
            '--standalone',
            '--',
            str(clone.root / 'tools' / 'train.py'),
            'my config.py',
            '--launcher',
            'pytorch',
            '--cfg-options',
            'a.b=c d',
        ]
    ]


def test_dist_test(clone):
    """Paths are left as they are."""
    clone.run(
        'dist_test.sh',
        'configs/x.py',
        'work_dirs/x',
        '3',
        '--out',
        'some file.json',
    )
    assert clone.calls()[0][5:] == [
        '--standalone',
        '--',
        str(clone.root / 'tools' / 'test.py'),
        'configs/x.py',
        'work_dirs/x',
        '--launcher',
        'pytorch',
        '--out',
        'some file.json',
    ]


def test_several_nodes(clone):
    """The rendezvous comes from the environment."""
    clone.run(
        'dist_train.sh',
        'x.py',
        '8',
        NNODES='2',
        NODE_RANK='1',
        MASTER_ADDR='10.0.0.1',
        PORT='1234',
    )
    assert clone.calls()[0][3:15] == [
        '--nproc-per-node',
        '8',
        '--nnodes',
        '2',
        '--node-rank',
        '1',
        '--master-addr',
        '10.0.0.1',
        '--master-port',
        '1234',
        '--',
        str(clone.root / 'tools' / 'train.py'),
    ]


def test_several_nodes_need_an_address(clone):
    """Each node would wait for itself."""
    run = clone.run('dist_train.sh', 'x.py', '8', NNODES='2')
    assert run.returncode == 2
    assert 'NNODES is 2: set MASTER_ADDR' in run.stderr


@pytest.mark.parametrize('gpus', ['0', 'two', '-1', ''])
def test_number_of_processes_is_checked(clone, gpus):
    """A swapped argument is seen before Python starts."""
    run = clone.run('dist_train.sh', 'x.py', gpus)
    assert run.returncode == 2
    assert f"GPUS must be a number from 1 on, got '{gpus}'" in run.stderr
    assert not clone.calls()


def test_exit_code_of_a_failure(clone):
    """What the processes fail with is what the launcher fails with."""
    assert (
        clone.run('dist_train.sh', 'x.py', '2', BREAK='x.py').returncode == 3
    )


def test_launcher_takes_the_environment_of_the_repository(clone):
    """After the demo no environment needs to be active."""
    clone.add_python(clone.root / '.venv' / 'bin' / 'python')
    clone.run('dist_train.sh', 'x.py', '2', PYTHON='')
    assert clone.calls()[0][0] == 'python'


STUB = r"""#!/bin/sh
# Notes its arguments as the stand-in of Python does.
{ printf '%s|%s' "${0##*/}" "$PWD"; printf '|%s' "$@"; echo; } >>"$LOG"
exit "${STUB_EXIT:-0}"
"""


@pytest.fixture
def srun(clone):
    """A clone with a stub of srun on the path."""
    clone.add_command('srun', STUB)
    return clone


def test_slurm_train(srun):
    """mmdet's calling convention; further options are passed on."""
    run = srun.run(
        'slurm_train.sh',
        'gpu',
        'my job',
        'my config.py',
        'work dirs/x',
        '--cfg-options',
        'a.b=c d',
    )
    assert run.returncode == 0, run.stderr
    assert srun.calls() == [
        [
            'srun',
            str(srun.elsewhere),
            '-p',
            'gpu',
            '--job-name=my job',
            '--gres=gpu:8',
            '--ntasks=8',
            '--ntasks-per-node=8',
            '--cpus-per-task=5',
            '--kill-on-bad-exit=1',
            str(srun.python),
            '-u',
            str(srun.root / 'tools' / 'train.py'),
            'my config.py',
            '--work-dir',
            'work dirs/x',
            '--launcher',
            'slurm',
            '--cfg-options',
            'a.b=c d',
        ]
    ]


def test_slurm_test(srun):
    """Tasks, GPUs of a node, and options of srun from the environment."""
    (srun.elsewhere / '--nodelist=n1').touch()
    run = srun.run(
        'slurm_test.sh',
        'gpu',
        'job',
        'x.py',
        'work_dirs/x',
        '--out',
        'a b.json',
        GPUS='4',
        CPUS_PER_TASK='2',
        SRUN_ARGS='--gres=none --nodelist=n[1-2]',
    )
    assert run.returncode == 0, run.stderr
    assert srun.calls()[0][5:] == [
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--cpus-per-task=2',
        '--kill-on-bad-exit=1',
        '--gres=none',
        '--nodelist=n[1-2]',
        str(srun.python),
        '-u',
        str(srun.root / 'tools' / 'test.py'),
        'x.py',
        'work_dirs/x',
        '--launcher',
        'slurm',
        '--out',
        'a b.json',
    ]


@pytest.mark.parametrize('name', ['GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK'])
def test_numbers_of_slurm_are_checked(srun, name):
    """Srun's own message would name none of them."""
    run = srun.run('slurm_train.sh', 'p', 'j', 'x.py', 'w', **{name: 'all'})
    assert run.returncode == 2
    assert f"{name} must be a number from 1 on, got 'all'" in run.stderr
    assert not srun.calls()


def test_slurm_fails_as_srun_does(srun):
    """The exit code is kept."""
    assert (
        srun.run(
            'slurm_train.sh', 'p', 'j', 'x.py', 'w', STUB_EXIT='7'
        ).returncode
        == 7
    )


def test_no_slurm(clone):
    """A machine without srun is told what to take."""
    run = clone.run('slurm_train.sh', 'p', 'j', 'x.py', 'w')
    assert run.returncode == 2
    assert 'no srun here' in run.stderr and 'dist_train.sh' in run.stderr
