"""Checkpoints that are whole, and of which there is always one."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor

from ovd.artifacts.files import NO_ROOM, atomic_write

from ..accumulated_gradients import mean_gradients, restore_gradients

BACKEND = dict(backend='atomic_local')
SURPLUS = 'surplus_ckpts'  # files that a checkpoint takes the place of
IN_BETWEEN = 'ckpts_in_between'  # files of save_now


def _noted(runner: Runner, key: str) -> List[str]:
    """Return names of files that checkpoints carry along."""
    return list(runner.message_hub.runtime_info.get(key, []))


class _NoRoomError(OSError):
    """No room for a checkpoint, which the message says."""


class _RemoveLater:
    """A file backend that puts off what it is told to remove."""

    def __init__(self, backend: object) -> None:
        self._backend = backend
        self.removed: List[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.removed.append(path)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """The host's hook, safe against being killed at any moment.

    A checkpoint and the pointer ``last_checkpoint`` appear under their names
    when they are whole, and an old checkpoint is removed after the one that
    takes its place is there. A full disk leaves the previous one.

    The host makes all bytes before it writes them. So a save takes as much
    memory as the file (``tools/benchmarks/checkpoint_memory.py``), and of
    tensors on a GPU as much again for their copies.

    Args:
        kwargs: Of the host's hook.

    Raises:
        ValueError: If checkpoints would go elsewhere than into a local folder.
    """

    file_backend: BaseStorageBackend

    def __init__(self, **kwargs: Any) -> None:
        kwargs['backend_args'] = kwargs.get('backend_args') or BACKEND
        out_dir = str(kwargs.get('out_dir') or '')
        if (
            '://' in out_dir
            or kwargs.get('file_client_args')
            or kwargs['backend_args'] != BACKEND
        ):
            raise ValueError(
                'checkpoints go to a local or mounted folder, where they '
                'appear when they are whole: expected out_dir to be one, and '
                'no backend_args and file_client_args, got '
                + ', '.join(
                    f'{name}={kwargs.get(name)!r}'
                    for name in ('out_dir', 'backend_args', 'file_client_args')
                )
                + '; for a remote store set default_hooks.checkpoint.type='
                "CheckpointHook, the host's, from which --resume takes a "
                'downloaded file'
            )
        super().__init__(**kwargs)
        self._saved: Optional[dict] = None  # epoch and iter of the last one
        self._gradients: Dict[str, Tensor] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take what is given to the model when training begins."""
        gradients = checkpoint.pop('gradients', {})
        self._gradients = gradients if runner._resume else {}

    def before_train(self, runner: Runner) -> None:
        """Remove what was left when the run that is resumed was killed."""
        super().before_train(runner)
        restore_gradients(runner, self._gradients)
        self._gradients = {}
        if is_main_process():
            for path in Path(self.out_dir).glob('.*.pth.*.tmp'):
                path.unlink(missing_ok=True)  # half of a checkpoint
        resumed = runner._resume and (
            runner._load_from or find_latest_checkpoint(runner.work_dir)
        )
        if resumed:
            self._take_up(runner, Path(resumed))

    def _take_up(self, runner: Runner, resumed: Path) -> None:
        """Treat the checkpoint that is resumed as if it was just saved."""
        folder = Path(self.out_dir)
        if folder.resolve() != resumed.resolve().parent:
            # What it takes the place of is not here.
            runner.message_hub.update_info(IN_BETWEEN, [])
            return
        self.last_ckpt = str(folder / resumed.name)
        self._saved = dict(epoch=runner.epoch, iter=runner.iter)
        if is_main_process():
            self._remove(_noted(runner, SURPLUS))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the gradients of an accumulation that is not over."""
        if self._gradients:
            checkpoint['gradients'] = self._gradients

    def save_now(self, runner: Runner, num_iters: int) -> str:
        """Save in the middle of an epoch or interval; return the file.

        What is saved already is not saved again.

        Args:
            num_iters (int): Iterations that were done.
        """
        meta = dict(epoch=runner.epoch, iter=num_iters)
        if self._saved == meta:
            return self.last_ckpt
        if self.by_epoch:
            name = f'iter_{num_iters}.pth'
            runner.message_hub.update_info(SURPLUS, [])
            runner.message_hub.update_info(
                IN_BETWEEN, [*_noted(runner, IN_BETWEEN), name]
            )
            self._save(runner, name, meta)
        else:
            self._save_checkpoint_with_step(runner, num_iters, meta)
        return self.last_ckpt

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict
    ) -> None:
        surplus = [
            Path(path).name
            for path in getattr(self.file_backend, 'removed', ())
            if path not in self._best()
        ]
        if self.max_keep_ckpts > 0:
            steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
            surplus += map(
                self.filename_tmpl.format, steps[: -self.max_keep_ckpts]
            )
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(steps[-self.max_keep_ckpts :])
            runner.message_hub.update_info(
                'keep_ckpt_ids', list(self.keep_ckpt_ids)
            )
            if self.by_epoch:
                surplus += _noted(runner, IN_BETWEEN)
                runner.message_hub.update_info(IN_BETWEEN, [])
        # A process may be killed before it removes them.
        runner.message_hub.update_info(SURPLUS, surplus)
        self._save(runner, self.filename_tmpl.format(step), meta)
        if is_main_process():
            self._remove(surplus)

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            Path(self.out_dir, name).unlink(missing_ok=True)

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        """Save a checkpoint, then point to it.

        Raises:
            OSError: If there is no room for it.
        """
        path = str(Path(self.out_dir, name))
        self.last_ckpt, state = path, dict(meta)
        runner.message_hub.update_info('last_ckpt', path)
        self._gradients = mean_gradients(runner)
        with self._no_room_told(runner, path):
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                with atomic_write(
                    Path(runner.work_dir, 'last_checkpoint'), 'w'
                ) as file:
                    file.write(path)
        self._saved, self._gradients = state, {}

    @contextmanager
    def _no_room_told(
        self, runner: Runner, path: Optional[str] = None
    ) -> Iterator[None]:
        """Have an error say what was not saved, and what there is instead."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_ROOM or isinstance(error, _NoRoomError):
                raise
            pointer = Path(runner.work_dir, 'last_checkpoint')
            kept = (
                f'{pointer.read_text()} is whole'
                if pointer.is_file()
                else 'there is none yet'
            )
            raise _NoRoomError(
                error.errno,
                f'no room for checkpoint {path or error.filename} '
                f'({error.strerror}); of the previous ones, {kept}. Make '
                'room, then go on with --resume',
            ) from error

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        with self._no_room_told(runner), self._removals_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removals_last(self) -> Iterator[None]:
        backend = self.file_backend
        self.file_backend = waiting = _RemoveLater(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        for path in waiting.removed:
            if path not in self._best():
                Path(path).unlink(missing_ok=True)

    def _best(self) -> Set[Optional[str]]:
        """Return the files that are the best ones now."""
        return {
            getattr(self, 'best_ckpt_path', None),
            *getattr(self, 'best_ckpt_path_dict', {}).values(),
        }
