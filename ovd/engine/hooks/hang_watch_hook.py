"""A rank that hangs ends the whole job, and is named."""

import itertools
import json
import os
import sys
import threading
import time
import traceback
from typing import Dict, List, Optional, Tuple

import torch.distributed as dist
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

EXIT_CODE = 70  # EX_SOFTWARE
# Functions in which a process waits for the others: the collective calls, and
# the backward pass, in which gradients are averaged.
WAITING = ('torch/distributed/', 'torch/nn/parallel/', 'torch/autograd/')
OTHERS_S = 30.0
_runs = itertools.count()


@HOOKS.register_module()
class HangWatchHook(Hook):
    """End a job of several processes in which no iteration ends any more.

    A thread in each process tells the others, through the store at which
    they met, how long its current iteration takes, in training, validation
    and test, and where it is. Once that is too long, those that don't wait
    for others, or don't even answer, are named with the line at which they
    are, and the process ends; its launcher then ends the others.

    While metrics are computed, which may take long on one process while the
    others wait, and before the first batch is there, only a process that does
    not answer any more is noticed: one that was stopped or lost, or whose
    machine was.

    Who waits for others is seen by the Python code that it is in. On GPUs
    with NCCL that is not always so: a process gives work to its GPU without
    waiting, and waits where it asks for a number of it, such as a loss. If
    all do, all are named, each with its line, and the one that hangs is that
    whose line is another one. A hang of the GPUs themselves, or of the
    network between them, looks the same on all processes.

    Args:
        timeout (float): Seconds that an iteration may take. Defaults to 540:
            NCCL ends a job without naming a process after 600.
    """

    def __init__(self, timeout: float = 540.0) -> None:
        self.timeout = timeout
        self._began: Optional[float] = None  # the current iteration
        self._ended = threading.Event()
        self._watching: Optional[threading.Thread] = None
        # When the store was last asked, while it has not answered
        self._asked: Optional[float] = None
        # Rank -> what it last said, and when that came
        self._heard: Dict[int, Tuple[dict, float]] = {}

    def before_run(self, runner: Runner) -> None:
        """Start the thread, if there are several processes."""
        if runner.world_size == 1 or not dist.is_initialized():
            return
        self._ended = threading.Event()
        self._heard.clear()
        self._asked = None
        # Reports of an earlier run of these processes are none of this one.
        name = f'hang_watch_{next(_runs)}'
        store = dist.PrefixStore(
            name, dist.distributed_c10d._get_default_store()
        )
        self._watching = threading.Thread(
            target=self._watch,
            args=(store, runner.rank, runner.world_size),
            daemon=True,
        )
        self._watching.start()
        threading.Thread(target=self._watch_store, daemon=True).start()

    def after_run(self, runner: Runner) -> None:
        """End the thread, which must not be asking when Python ends.

        A thread that Python ends in a call of the store aborts the process.
        """
        self._ended.set()
        if self._watching is not None:
            self._watching.join(OTHERS_S)

    def _before_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        mode: str = 'train',
    ) -> None:
        """An iteration begins; from the second on with its data."""
        self._began = time.monotonic()

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
        mode: str = 'train',
    ) -> None:
        """The next one begins with the loading of its data, if there is."""
        loader = (
            runner.val_dataloader
            if mode == 'val'
            else runner.test_dataloader
            if mode == 'test'
            else None
        )
        is_last = loader is not None and batch_idx + 1 >= len(loader)
        self._began = None if is_last else time.monotonic()

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Look away until the first batch of an evaluation is there."""
        if mode != 'train':
            self._began = None

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Look away until training goes on."""
        if mode != 'train':
            self._began = None

    def after_train(self, runner: Runner) -> None:
        """Look away."""
        self._began = None

    def _watch(self, store: dist.Store, rank: int, world_size: int) -> None:
        pause, number = min(max(self.timeout / 10, 0.05), 10), 0
        while not self._ended.wait(pause):
            began = self._began
            seconds = 0.0 if began is None else time.monotonic() - began
            place, waits = where_is_main_thread()
            number += 1
            report = dict(
                number=number,
                place=place,
                waits=waits,
                seconds=None if began is None else seconds,
            )
            self._asked = time.monotonic()
            try:
                store.set(str(rank), json.dumps(report))
                self._hear(store, world_size)
            except RuntimeError as error:
                # The machine of rank 0 is lost, or its process at its end.
                if seconds > self.timeout:
                    self._end(
                        f'rank {rank} has waited for {seconds:.0f} s, '
                        f'and lost the store of the job: {error}'
                    )
                continue
            finally:
                self._asked = None
            if seconds > self.timeout:
                hung = self._find_hung(world_size, silent=3 * pause + 1)
            elif not (hung := self._find_silent(self.timeout)):
                continue
            # One that was stopped may have waited when it last answered.
            since = time.monotonic() - (seconds - self.timeout)
            if not hung and any(
                heard < since for _, heard in self._heard.values()
            ):
                continue
            able = [r for r in range(world_size) if r not in hung] or [0]
            # One tells; the others give it time to.
            if (
                rank == able[0]
                or seconds > self.timeout + OTHERS_S
                or self._find_silent(self.timeout + OTHERS_S)
            ):
                self._end(self._message(hung))

    def _watch_store(self) -> None:
        """End if the store gives no answer, for which the other one waits.

        It is in the launcher of the first machine or, without ours, in the
        process of rank 0.
        """
        patience = self.timeout + OTHERS_S
        while not self._ended.wait(min(patience / 10, 10)):
            asked = self._asked
            if asked is not None and time.monotonic() - asked > patience:
                self._end(
                    f'the store of the job has not answered for {patience:g} '
                    's: rank 0, or its machine or launcher, was stopped or '
                    'lost\nthe job ends; a training goes on with --resume'
                )

    def _end(self, message: str) -> None:
        print(f'error: {message}', file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

    def _hear(self, store: dist.Store, world_size: int) -> None:
        """Note when each rank's report was last another one, by our clock."""
        for rank in range(world_size):
            if store.check([str(rank)]):
                report = json.loads(store.get(str(rank)))
                known, _ = self._heard.get(rank, ({}, 0.0))
                if report != known:
                    self._heard[rank] = report, time.monotonic()

    def _find_silent(self, seconds: float) -> Dict[int, str]:
        """Return the ranks that have not answered for longer than that."""
        now = time.monotonic()
        return {
            rank: f'has not answered for {now - heard:.0f} s, last at '
            + report['place']
            for rank, (report, heard) in self._heard.items()
            if now - heard > seconds
        }

    def _find_hung(self, world_size: int, silent: float) -> Dict[int, str]:
        """Return the ranks that others wait for, and where each is."""
        hung = self._find_silent(silent)
        for rank in range(world_size):
            report, _ = self._heard.get(rank, ({}, 0.0))
            if not report:
                hung[rank] = 'never answered'
            # In an evaluation others are in iterations that do end.
            elif (
                rank not in hung
                and not report['waits']
                and (
                    report['seconds'] is None
                    or report['seconds'] > self.timeout / 2
                )
            ):
                hung[rank] = f'is at {report["place"]}'
        return dict(sorted(hung.items()))

    def _message(self, hung: Dict[int, str]) -> str:
        ranks = (
            ', '.join(f'rank {r} {text}' for r, text in hung.items())
            or 'all ranks wait for each other'
        )
        return (
            f'no iteration ended within {self.timeout:g} s: {ranks}\n'
            'the job ends; a training goes on with --resume. If '
            'iterations may take longer, raise '
            'default_hooks.hang_watch.timeout'
        )


def where_is_main_thread() -> tuple:
    """Return the innermost line of the main thread, and if it only waits."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    stack: List[traceback.FrameSummary] = traceback.extract_stack(frame)
    if not stack:
        return 'an unknown place', False
    last = stack[-1]
    waits = any(
        part in entry.filename.replace(os.sep, '/')
        for entry in stack[-3:]
        for part in WAITING
    )
    return f'{last.filename}:{last.lineno} in {last.name}', waits
