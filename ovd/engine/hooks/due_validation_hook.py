"""A validation that was cut off is made up for."""

from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from ovd.artifacts.files import atomic_write

from .exact_resume_hook import count_steps, is_training

DONE = 'last_validation'  # a file: the iteration after which it was


@HOOKS.register_module()
class DueValidationHook(Hook):
    """On resuming, begin with the validation that was due.

    Checkpoints are saved before the validation after their iteration. A run
    that is ended in it would go on without: a best checkpoint and what
    depends on the metrics, such as the learning rate, would not be those of a
    run without interruption. So it is run, or repeated, unless the checkpoint
    says that it was over (:class:`ExactResumeHook`). That of the last
    iteration is repeated only if it was not finished.
    """

    priority = 'LOWEST'  # all other hooks have begun when it validates

    def __init__(self) -> None:
        self._may_be_due = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read what a checkpoint to resume notes; older ones don't."""
        meta = checkpoint.get('meta', {})
        self._may_be_due = runner._resume and meta.get('is_validated') is False

    def before_train(self, runner: Runner) -> None:
        """Validate, if that is due."""
        if self._may_be_due and _is_due(runner):
            runner.logger.info(
                'beginning with the validation that was due when the run ended'
            )
            runner.val_loop.run()

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget an earlier one, perhaps of another run in this folder."""
        if is_training(runner) and is_main_process():
            Path(runner.work_dir, DONE).unlink(missing_ok=True)

    def after_val_epoch(self, runner: Runner, metrics: object = None) -> None:
        """Note that it was finished."""
        if is_training(runner) and is_main_process():
            with atomic_write(Path(runner.work_dir, DONE), 'w') as file:
                print(runner.iter, file=file)


def _is_due(runner: Runner) -> bool:
    """Return if the loop would validate here, and that is still to do."""
    loop = runner.train_loop
    if runner.val_loop is None or not isinstance(
        loop, (EpochBasedTrainLoop, IterBasedTrainLoop)
    ):
        return False
    loop._decide_current_val_interval()  # as the loops do before they ask
    step, last = (
        count_steps(loop),
        loop.max_epochs
        if isinstance(loop, EpochBasedTrainLoop)
        else loop.max_iters,
    )
    done = Path(runner.work_dir, DONE)
    if (
        step == last
        and done.is_file()
        and done.read_text().strip() == str(runner.iter)
    ):
        return False
    return step >= loop.val_begin and (
        step % loop.val_interval == 0 or step == last
    )
