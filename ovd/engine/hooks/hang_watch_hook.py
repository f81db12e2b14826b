"""A rank that hangs ends the whole job, and is named."""
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


@HOOKS.register_module()
class HangWatchHook(Hook):
    """End a job of several processes in which no iteration ends any more.

    A thread in each process tells the others, through the store at which
    they met, how long its current iteration takes and where it is. Once that
    is too long, those that don't wait for others, or don't even answer, are
    named with the line at which they are, and the process ends; its launcher
    then ends the others. Only training iterations are watched: an evaluation
    may take long on one process while the others wait.

    Args:
        timeout (float): Seconds that an iteration may take. Defaults to 600.
    """

    def __init__(self, timeout: float = 600.) -> None:
        self.timeout = timeout
        self._began: Optional[float] = None  # the current iteration
        self._ended = threading.Event()
        # Rank -> what it last said, and when that came
        self._heard: Dict[int, Tuple[dict, float]] = {}

    def before_train(self, runner: Runner) -> None:
        """Start the thread, if there are several processes."""
        if runner.world_size == 1 or not dist.is_initialized():
            return
        store = dist.PrefixStore('hang_watch',
                                 dist.distributed_c10d._get_default_store())
        threading.Thread(
            target=self._watch,
            args=(store, runner.rank, runner.world_size),
            daemon=True).start()

    def after_train(self, runner: Runner) -> None:
        """End the thread."""
        self._ended.set()

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: object = None) -> None:
        """An iteration begins; from the second on with its data."""
        self._began = time.monotonic()

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: object = None,
                         outputs: Optional[dict] = None) -> None:
        """The next one begins with the loading of its data."""
        self._began = time.monotonic()

    def before_val_epoch(self, runner: Runner) -> None:
        """Look away until training goes on."""
        self._began = None

    def _watch(self, store: dist.Store, rank: int, world_size: int) -> None:
        pause, number = min(max(self.timeout / 10, 0.05), 10), 0
        while not self._ended.wait(pause):
            began = self._began
            seconds = 0. if began is None else time.monotonic() - began
            place, waits = where_is_main_thread()
            number += 1
            report = dict(number=number, place=place, waits=waits)
            try:
                store.set(str(rank), json.dumps(report))
                self._hear(store, world_size)
            except RuntimeError as error:
                # The machine of rank 0 is lost, or its process at its end.
                if seconds > self.timeout:
                    self._end(f'rank {rank} has waited for {seconds:.0f} s, '
                              f'and lost the store of the job: {error}')
                continue
            if seconds <= self.timeout:
                continue
            silent = 3 * pause + 1
            hung = self._find_hung(world_size, silent)
            # One that was stopped may have waited when it last answered.
            since = time.monotonic() - (seconds - self.timeout)
            if not hung and any(heard < since
                                for _, heard in self._heard.values()):
                continue
            able = [r for r in range(world_size) if r not in hung] or [0]
            # One tells; the others give it time to.
            if rank == able[0] or seconds > self.timeout + OTHERS_S:
                self._end(self._message(hung))

    def _end(self, message: str) -> None:
        print(f'error: {message}', file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

    def _hear(self, store: dist.Store, world_size: int) -> None:
        """Note when each rank's report was last another one, by our clock."""
        for rank in range(world_size):
            if store.check([str(rank)]):
                report = json.loads(store.get(str(rank)))
                known, _ = self._heard.get(rank, ({}, 0.))
                if report != known:
                    self._heard[rank] = report, time.monotonic()

    def _find_hung(self, world_size: int, silent: float) -> Dict[int, str]:
        """Return the ranks that others wait for, and where each is."""
        hung = {}
        for rank in range(world_size):
            if rank not in self._heard:
                hung[rank] = 'never answered'
                continue
            report, heard = self._heard[rank]
            age = time.monotonic() - heard
            if age > silent:
                hung[rank] = f'has not answered for {age:.0f} s, last at ' \
                    + report['place']
            elif not report['waits']:
                hung[rank] = f'is at {report["place"]}'
        return hung

    def _message(self, hung: Dict[int, str]) -> str:
        ranks = ', '.join(f'rank {r} {text}' for r, text in hung.items()) \
            or 'all ranks wait for each other'
        return (f'no training iteration ended within '
                f'{self.timeout:g} s: {ranks}\nthe job ends; go on with '
                '--resume. If iterations may take longer, raise '
                'default_hooks.hang_watch.timeout')


def where_is_main_thread() -> tuple:
    """Return the innermost line of the main thread, and if it only waits."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    stack: List[traceback.FrameSummary] = traceback.extract_stack(frame)
    if not stack:
        return 'an unknown place', False
    last = stack[-1]
    waits = any(part in entry.filename.replace(os.sep, '/')
                for entry in stack[-3:] for part in WAITING)
    return f'{last.filename}:{last.lineno} in {last.name}', waits
