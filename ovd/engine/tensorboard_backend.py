"""TensorBoard's logs where TensorBoard is installed, and none elsewhere."""

from typing import Any, Callable

from mmdet.registry import VISBACKENDS
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.visualization import TensorboardVisBackend


@VISBACKENDS.register_module()
class OptionalTensorboardVisBackend(TensorboardVisBackend):
    """The host's backend, which says once that TensorBoard is missing.

    The host's ends the run there. TensorBoard is imported when the first
    numbers are logged.
    """

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Do nothing: the config is in the work folder, and a run that logs
        no numbers needs no TensorBoard."""

    def _init_env(self) -> None:
        try:
            super()._init_env()
        except ImportError:
            print_log(
                'TensorBoard is not installed: the log goes to scalars.json '
                'alone (pip install tensorboard)',
                logger='current',
            )
            self._tensorboard = _NoWriter()


class _NoWriter:
    """In place of a ``SummaryWriter``: takes everything, writes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _do_nothing


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    """Accept any call."""
