"""The toy job of ``resumable_job.py``, to be struck and to be compared."""

import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Dict, List, Optional

import resumable_job as job
import torch
from fault_processes import Child, wait_for, wait_for_group

from ovd.artifacts.torch_file import read_torch_file
from ovd.engine.checkpoints import check_whole
from ovd.engine.launch import build_runner, leave_process_group
from ovd.engine.resuming import prepare_training

TWO_RANKS = dict(train_cfg=dict(max_epochs=8))  # of 5 iterations
COMMAND = ['tools/train.py', 'toy.py']


@dataclass(frozen=True)
class World:
    """What all trials share, which none of them changes.

    Args:
        folder (Path): Holds ``whole_1`` and, if any kind has two ranks,
            ``whole_2``, uninterrupted runs of one process and of two;
            ``cut``, one that was killed after checkpoints of iterations 15,
            in the middle of an epoch, and 20; and the files of others.
        startup (float): Seconds until the first iteration.
    """

    folder: Path
    startup: float

    @classmethod
    def build(cls, folder: Path, ranks: int) -> 'World':
        begin = time.monotonic()
        whole, cut = (
            start(folder / 'whole_1'),
            start(folder / 'cut', kill_at=23),
        )
        wait_for(lambda: count_seen(folder / 'whole_1') > 0, [whole])
        startup = time.monotonic() - begin
        group = start_group(folder / 'whole_2') if ranks == 2 else []
        expect_end(whole)
        expect_end(cut, -9)
        codes = wait_for_group(group, 120)
        assert not any(codes), f'the run of two ended with {codes}'
        return cls(folder, startup)


def start(
    folder: Path,
    resume: Optional[str] = 'auto',
    options: Optional[dict] = None,
    skip_broken: bool = False,
    environment: Optional[Dict[str, str]] = None,
    rank: int = 0,
    **seen: Any,
) -> Child:
    """Start a process of the job in ``folder``.

    Args:
        folder (Path): Its work folder.
        resume (str, optional): Of ``tools/train.py``.
        options (dict, optional): What to change in its config.
        skip_broken (bool): Of ``tools/train.py``.
        environment (dict[str, str], optional): Variables to add.
        rank (int): For the name of the log. Defaults to 0.
        seen (Any): When what happens, of ``_SeenHook``.
    """

    def work() -> None:
        sys.argv = list(COMMAND)
        cfg = job.make_config(str(folder))
        cfg.merge_from_dict(options or {})
        cfg.custom_hooks[0].update(seen)
        prepare_training(cfg, resume, skip_broken)
        build_runner(cfg).train()
        leave_process_group()

    return Child(work, folder / f'log_{rank}.txt', environment)


def start_group(
    folder: Path, options: Optional[dict] = None, **kwargs: Any
) -> List[Child]:
    """Start the two ranks of a job."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    return [
        start(
            folder,
            options={**TWO_RANKS, **(options or {})},
            rank=rank,
            environment=dict(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE='2',
                LOCAL_WORLD_SIZE='2',
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=port,
            ),
            **kwargs,
        )
        for rank in range(2)
    ]


def count_seen(folder: Path, rank: int = 0) -> int:
    """Return how many iterations have begun in all runs in a folder."""
    path = folder / f'seen_{rank}.txt'
    return path.read_bytes().count(b'\n') if path.exists() else 0


def at_random(
    children: List[Child], folder: Path, rng: Random, startup: float = 0.0
) -> None:
    """Wait for a random moment of a run.

    Args:
        children (list[Child]): The run.
        folder (Path): Its work folder.
        rng (Random): Draws the moment.
        startup (float): Seconds to the first iteration; with these given it
            may also be a moment of them. Defaults to 0.
    """
    begun = count_seen(folder)
    if startup and rng.random() < 0.2:
        time.sleep(rng.uniform(0, startup))
        return
    last = read_last(folder)['meta']['iter'] if has_pointer(folder) else 0
    number = begun + rng.randint(1, max(1, 38 - last))
    wait_for(
        lambda: (
            count_seen(folder) >= number
            or any(child.code is not None for child in children)
        ),
        children,
    )
    time.sleep(rng.uniform(0, 0.01))


def has_pointer(folder: Path) -> bool:
    return (folder / 'last_checkpoint').is_file()


def read_last(folder: Path) -> dict:
    """Return the checkpoint that the folder's pointer names."""
    path = (folder / 'last_checkpoint').read_text()
    return read_torch_file(folder / Path(path).name, 'checkpoints')


def copy_cut(world: World, folder: Path) -> Path:
    """Return a copy of the run that was killed: its last checkpoint."""
    shutil.copytree(world.folder / 'cut', folder, dirs_exist_ok=True)
    pointer = folder / 'last_checkpoint'
    pointer.write_text(str(folder / Path(pointer.read_text()).name))
    return folder / 'iter_20.pth'


def expect_end(run: Child, code: int = 0, words: str = '') -> None:
    """Raise unless a run ends with a code, and these words in its output."""
    found = run.wait()
    assert found == code and words in run.output, (
        f'expected exit code {code} and "{words}", got {found} and\n'
        f'{run.output[-1500:]}'
    )


def expect_whole(folder: Path) -> None:
    """Raise if half a file has a final name."""
    for path in folder.glob('*.pth'):
        check_whole(str(path))
        read_torch_file(path, 'checkpoints')
    if has_pointer(folder):
        read_last(folder)


def expect_same(folder: Path, whole: Path) -> None:
    """Raise unless a run has the weights and losses of another."""
    expect_whole(folder)
    found, expected = read_last(folder), read_last(whole)
    steps = found['meta']['iter'], expected['meta']['iter']
    assert steps == (40, 40), f'ended after {steps[0]} iterations'
    assert _is_same(found['state_dict'], expected['state_dict']), (
        'other weights than without the fault'
    )
    losses, expected_losses = (
        c['message_hub']['log_scalars']['train/loss']['log_history']
        for c in (found, expected)
    )
    assert losses == expected_losses and len(losses) == 40, (
        'other losses than without the fault'
    )


def _is_same(
    one: Dict[str, torch.Tensor], other: Dict[str, torch.Tensor]
) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) for key, value in one.items()
    )
