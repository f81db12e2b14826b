"""What is submitted to PAI, and what runs here without its client."""

import tarfile

import pytest

PLACE = dict(
    ODPS_BUCKET='oss://mine/data/',
    ODPS_ROLE_ARN='acs:ram::1:role/me',
    ODPS_CLUSTER_LABEL='V100',
    ODPS_PROJECT='algo_public',
    ODPS_WORKSPACE='vision',
)
SUBMISSION = r"""set odps.algo.hybrid.deploy.info=LABEL:V100:OPER_EQUAL;
use vision;
pai -name pytorch
    -project algo_public
    -Dscript="file://ARCHIVE"
    -DentryFile="tools/train.py"
    -DworkerCount=8
    -Dcluster="{\"worker\":{\"gpu\":100}}"
    -DuserDefinedParameters="PARAMETERS"
    -Dbuckets="oss://mine/data/?role_arn=acs:ram::1:role/me&host=oss.host";
"""
# Quoted for a shell, and that once more for between double quotes.
PARAMETERS = (
    'configs/x.py --launcher pytorch --work-dir work_dirs/debug '
    r"""--cfg-options 'a=it'\\''s \"it\"'"""
)


@pytest.fixture
def project(clone):
    """A clone with a config, and with all that is sent."""
    for name in (
        'configs/x.py',
        'ovd/__init__.py',
        'pyproject.toml',
        'data/large.bin',
    ):
        (clone.root / name).parent.mkdir(exist_ok=True)
        (clone.root / name).touch()
    clone.variables['TMPDIR'] = str(clone.elsewhere.parent)
    return clone


def _submission(text):
    head, _, rest = text.partition('file://')
    archive, _, tail = rest.partition('"')
    assert archive.endswith('/job.tar.gz')
    return f'{head}file://ARCHIVE"{tail}'


def test_odps_shows_what_it_would_submit(project):
    """Without a client, too, and without leaving anything behind."""
    before = sorted(project.elsewhere.parent.iterdir())
    run = project.run(
        'odps_train.sh',
        'debug',
        '../a clone/configs/x.py',
        '8',
        '--cfg-options',
        'a=it\'s "it"',
        DRY_RUN='1',
        ODPS_HOST='oss.host',
        **PLACE,
    )
    assert run.returncode == 0, run.stderr
    assert _submission(run.stdout) == SUBMISSION.replace(
        'PARAMETERS', PARAMETERS
    )
    assert not project.calls()
    assert sorted(project.elsewhere.parent.iterdir()) == before


CLIENT = """#!/bin/sh
printf '%s\\n' "$@" >"$LOG"
archive=${2#*file://}
cp "${archive%%.tar.gz*}.tar.gz" "$LOG.tar.gz"
exit "${STUB_EXIT:-0}"
"""


def test_odps_submits_a_job_with_a_slash(project):
    """It is part of the work folder, and of no file's name."""
    train = ('odps_train.sh', 'vild/a b', '../a clone/configs/x.py', '8')
    shown = project.run(*train, DRY_RUN='1', **PLACE)
    project.add_command('odpscmd', CLIENT)
    dry = project.run(*train, DRY_RUN='true', **PLACE)
    assert _submission(dry.stdout) == _submission(shown.stdout)
    assert not project.log.exists()
    run = project.run(*train, DRY_RUN='0', **PLACE)
    assert run.returncode == 0, run.stderr
    _, _, submitted = project.log.read_text().partition('\n')
    assert (
        _submission(submitted).rstrip() == _submission(shown.stdout).rstrip()
    )
    assert "--work-dir 'work_dirs/vild/a b'" in submitted
    with tarfile.open(f'{project.log}.tar.gz') as archive:
        assert 'configs/x.py' in archive.getnames()


def test_odps_submits(project):
    """The code goes along, data does not; the client's failure is ours."""
    project.add_command('odpscmd', CLIENT)
    test = (
        'odps_test.sh',
        str(project.root / 'configs/x.py'),
        'work_dirs/x',
        '2',
        '--out',
        'x.json',
    )
    run = project.run(*test, ODPS_PYTORCH='pytorch260', **PLACE)
    assert run.returncode == 0, run.stderr
    option, _, submitted = project.log.read_text().partition('\n')
    assert option == '-e'
    lines = _submission(submitted).splitlines()
    assert lines[2] == 'pai -name pytorch260'
    assert lines[5:9] == [
        '    -DentryFile="tools/test.py"',
        '    -DworkerCount=2',
        r'    -Dcluster="{\"worker\":{\"gpu\":100}}"',
        '    -DuserDefinedParameters="configs/x.py work_dirs/x '
        '--launcher pytorch --out x.json"',
    ]
    with tarfile.open(f'{project.log}.tar.gz') as archive:
        sent = archive.getnames()
    assert {'configs/x.py', 'tools/train.py', 'ovd', 'setup.py'} <= set(sent)
    assert not any(name.startswith('data') for name in sent)
    assert project.run(*test, STUB_EXIT='5', **PLACE).returncode == 5


@pytest.mark.parametrize('missing', [[*PLACE], ['ODPS_ROLE_ARN']])
def test_odps_names_the_variables_that_are_missing(project, missing):
    """All of them at once."""
    place = {key: value for key, value in PLACE.items() if key not in missing}
    run = project.run(
        'odps_train.sh',
        'debug',
        '../a clone/configs/x.py',
        '8',
        DRY_RUN='1',
        **place,
    )
    assert run.returncode == 2 and not run.stdout
    found = run.stderr.partition('set ')[2].partition(' (')[0].split()
    assert found == sorted(missing)


def test_odps_sends_no_config_from_elsewhere(project):
    """A job would start, and not find it."""
    (project.elsewhere / 'mine.py').touch()
    for config, words in (
        ('mine.py', 'lies outside'),
        ('none.py', 'does not exist'),
    ):
        run = project.run(
            'odps_train.sh', 'debug', config, '8', DRY_RUN='1', **PLACE
        )
        assert run.returncode == 2 and words in run.stderr
        assert not run.stdout


def test_odps_runs_here_without_a_client(clone):
    """One line says so; the job is that of dist_train.sh."""
    run = clone.run(
        'odps_train.sh',
        'debug',
        'x.py',
        '8',
        '--seed',
        '3407',
        '--cfg-options',
        'a=b c',
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.count('\n') == 1 and 'no odpscmd here' in run.stderr
    assert clone.calls()[0][4:] == [
        '8',
        '--standalone',
        '--',
        str(clone.root / 'tools' / 'train.py'),
        'x.py',
        '--launcher',
        'pytorch',
        '--work-dir',
        'work_dirs/debug',
        '--seed',
        '3407',
        '--cfg-options',
        'a=b c',
    ]
    clone.run('odps_test.sh', 'x.py', 'work_dirs/debug', '2', '--out', 'a b')
    assert clone.calls()[0][7:] == [
        str(clone.root / 'tools' / 'test.py'),
        'x.py',
        'work_dirs/debug',
        '--launcher',
        'pytorch',
        '--out',
        'a b',
    ]
