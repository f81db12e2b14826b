"""Faults that end a training job: signals, a lost or hung rank, no room."""

import os
import resource
import signal
import time
from pathlib import Path
from random import Random

from fault_processes import Child, wait_for_group
from fault_training import (
    World,
    at_random,
    expect_end,
    expect_same,
    expect_whole,
    has_pointer,
    read_last,
    start,
    start_group,
)

ENDS_WITHIN_S = 30.0  # the other ranks of one that was lost
HANG_S = 1.0
SIZE = 14000  # bytes of a checkpoint, nearly


def kill_all(world: World, rng: Random, folder: Path) -> None:
    """Killed at up to three random moments, and resumed each time."""
    for _ in range(rng.randint(1, 3)):
        run = start(folder)
        at_random([run], folder, rng, world.startup)
        run.kill()
        assert run.code in (0, -signal.SIGKILL), run.output
        expect_whole(folder)
    expect_end(start(folder))
    expect_same(folder, world.folder / 'whole_1')


def kill_in_writing(world: World, rng: Random, folder: Path) -> None:
    """Killed by the system after some bytes of a checkpoint."""
    run = _start_with_limit(folder, signal.SIG_DFL)
    _limit_files(run, folder, rng)
    expect_end(run, -signal.SIGXFSZ)
    expect_whole(folder)
    assert list(folder.glob('.*.tmp')), 'it was not killed while it wrote'
    expect_end(start(folder))
    expect_same(folder, world.folder / 'whole_1')


def kill_one_of_two(world: World, rng: Random, folder: Path) -> None:
    """One rank killed; the other has to end by itself."""
    ranks = start_group(folder)
    at_random(ranks, folder, rng)
    os.kill(rng.choice(ranks).pid, signal.SIGKILL)
    for rank in ranks:
        rank.wait(ENDS_WITHIN_S)
    assert [rank.code for rank in ranks] != [0, 0], 'nobody noticed'
    expect_whole(folder)
    _expect_two_resume(world, folder)


def terminate(world: World, rng: Random, folder: Path) -> None:
    """SIGTERM; saved where it was."""
    run = start(folder)
    at_random([run], folder, rng)
    os.kill(run.pid, rng.choice((signal.SIGTERM, signal.SIGINT)))
    expect_end(run, 0, 'go on with:\n  python tools/train.py ')
    command = run.output.splitlines()[-1]
    assert '--resume auto' in command and 'toy.py' in command, command
    done = len((folder / 'seen_0.txt').read_text().splitlines())
    saved = read_last(folder)['meta']['iter']
    assert saved == done, f'{done} iterations were done, {saved} saved'
    expect_end(start(folder))
    expect_same(folder, world.folder / 'whole_1')


def terminate_one_of_two(world: World, rng: Random, folder: Path) -> None:
    """One rank told to end; both end, saved."""
    ranks = start_group(folder)
    at_random(ranks, folder, rng)
    os.kill(rng.choice(ranks).pid, signal.SIGTERM)
    codes = [rank.wait() for rank in ranks]
    assert codes == [0, 0], f'exit codes {codes}:\n{ranks[0].output[-1500:]}'
    assert 'go on with:' in ranks[0].output, ranks[0].output
    _expect_two_resume(world, folder)


def fill_disk(world: World, rng: Random, folder: Path) -> None:
    """No room for a checkpoint from a random moment on."""
    run = _start_with_limit(folder, signal.SIG_IGN)
    _limit_files(run, folder, rng)
    assert run.wait() not in (0, None), 'it did not notice'
    last = run.output.strip().splitlines()[-1]
    step = read_last(folder)['meta']['iter'] if has_pointer(folder) else 0
    failed = folder / f'iter_{step + 5}.pth'
    assert str(failed) in last, f'{failed} is not named:\n{run.output[-1500:]}'
    assert not failed.exists() and not list(folder.glob('.*.tmp'))
    expect_whole(folder)
    expect_end(start(folder))
    expect_same(folder, world.folder / 'whole_1')


def hang_one_of_two(world: World, rng: Random, folder: Path) -> None:
    """The last rank waits for ever, or is stopped."""
    how = rng.choice(('hang_at', 'freeze_at'))
    begin = time.monotonic()
    ranks = start_group(
        folder,
        {'default_hooks.hang_watch.timeout': HANG_S},
        **{how: rng.randint(1, 39)},
    )
    wait_for_group(ranks, HANG_S + ENDS_WITHIN_S)
    output = ranks[0].output
    assert f'within {HANG_S:g} s: rank 1 ' in output, output[-1500:]
    assert ranks[0].code not in (0, -signal.SIGKILL), 'rank 0 did not end'
    assert time.monotonic() - begin > HANG_S
    _expect_two_resume(world, folder)


def _expect_two_resume(world: World, folder: Path) -> None:
    ranks = start_group(folder)
    codes = wait_for_group(ranks, 120)
    assert codes == [0, 0], f'exit codes {codes}:\n{ranks[0].output[-1500:]}'
    expect_same(folder, world.folder / 'whole_2')


def _start_with_limit(folder: Path, when_reached: int) -> Child:
    """Start a run that a limit of the size of files can be set for."""
    before = signal.signal(signal.SIGXFSZ, when_reached)
    try:
        return start(folder)
    finally:
        signal.signal(signal.SIGXFSZ, before)


def _limit_files(run: Child, folder: Path, rng: Random) -> None:
    """Let no file grow beyond a random part of a checkpoint's size."""
    at_random([run], folder, rng)
    size = rng.randrange(4096, SIZE)  # logs are smaller
    resource.prlimit(
        run.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
    )
