"""What a distillation method is: a module that turns a batch into named, weighted loss terms."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from train.config import MethodConfig
from train.core.errors import UserError
from train.methods.terms import LossTerm, TargetChoice
from train.networks.protocol import Network


class DistillationMethod(nn.Module, ABC):
    """How a student is trained.

    Trainable adapters are ordinary submodules: they are optimized with the student, kept in the
    training state, and are no part of the student's checkpoint.

    Parameters
    ----------
    config
        An instance of `Config`.
    student
        The network to train; its widths are what adapters are made for. It is not kept.
    teacher
        Frozen; None where `needs_teacher` is False.
    artifacts
        What `prepare` returned.

    Attributes
    ----------
    Config
        The method's options, a frozen dataclass; on the command line under ``--method.``.
    batch_fields
        Entries of the batch that it needs beside those of every batch, such as "images".
    needs_labels
        Whether the training frames must have labels.
    needs_teacher
        Whether there is a teacher.
    needs_image_network
        Whether it looks at images through a network of `train.networks.image`, which
        `given_image_network` names; a file that a run makes itself comes as `artifacts`.
    scores_with_images
        Whether `with_images` gives something to score beside the student alone.
    prepares
        Whether `prepare` writes something.
    choice
        What it takes of the teacher's output; None for a method whose targets cannot be kept.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    batch_fields: ClassVar[frozenset[str]] = frozenset()
    needs_labels: ClassVar[bool] = True
    needs_teacher: ClassVar[bool] = True
    needs_image_network: ClassVar[bool] = False
    scores_with_images: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    choice: "TargetChoice | None" = None

    def __init__(
        self,
        config: Any,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__()
        del student, teacher, artifacts
        self.config = config

    @classmethod
    def check(cls, config: Any, student: Network, teacher: Network | None) -> None:
        """Refuse options that do not fit the networks; called before anything is written.

        Parameters
        ----------
        config
            An instance of `Config`.
        student, teacher
            As they will be built, with any weights; the teacher is None where there is none.

        Raises
        ------
        UserError
            If they do not fit.
        """
        del config, student, teacher

    @classmethod
    def takes_unlabeled(cls, config: Any) -> bool:
        """Return whether frames without labels teach a student something by these options."""
        del config
        return not cls.needs_labels

    @classmethod
    def check_labels(cls, config: Any, labels: str) -> None:
        """Refuse frames without labels where the method learns nothing from them.

        Parameters
        ----------
        config
            An instance of `Config`.
        labels
            Which frames have labels, as `train.data.labels` reads it.

        Raises
        ------
        UserError
            If no frame has one, and the method needs them.
        """
        if labels == "none" and not cls.takes_unlabeled(config):
            raise UserError(
                "--data.labels none: by these options the method learns from labels alone; choose "
                "one that learns from a teacher (--method kd), or give labels"
            )

    @classmethod
    def check_classes(cls, config: Any, class_names: Sequence[str]) -> None:
        """Refuse files in the options that are of other classes; called as `check` is.

        Parameters
        ----------
        config
            An instance of `Config`.
        class_names
            Of the dataset, by train id.

        Raises
        ------
        UserError
            If a file is of other classes.
        """
        del config, class_names

    @classmethod
    def given_image_network(cls, config: Any) -> Path | None:
        """Return the file of the image network that the options name; None if they name none."""
        del config
        return None

    @classmethod
    def needs_persistence(cls, config: Any) -> bool:
        """Return whether the method needs the kernels of `fast` on the run's device."""
        del config
        return False

    @classmethod
    def prepare(
        cls, config: Any, teacher: Network, batches: Iterable[Mapping[str, Any]], folder: Path
    ) -> Path | None:
        """Make what the method needs once, before the student's training; None if it is nothing.

        Parameters
        ----------
        config
            An instance of `Config`.
        teacher
            Frozen, in evaluation mode.
        batches
            One pass over the training frames, not augmented.
        folder
            Of the run; what is written there is kept with it.
        """
        del config, teacher, batches, folder
        return None

    @abstractmethod
    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return the terms of a batch by name, in the order in which they are added.

        Parameters
        ----------
        student
            In training mode.
        teacher
            In evaluation mode; none of its parameters requires a gradient.
        batch
            The networks' input, with `segment` [N] int64 train ids where there are labels: a
            `train.data.batch.Batch`, or a mapping of tensors, which `Batch.of` makes one.

        Raises
        ------
        UserError
            If an option does not fit the networks.
        NonFiniteLoss
            If a term is NaN or infinite, where that can be seen without waiting for a device.
        """

    def describe(self, student: Network, teacher: Network) -> str:
        """Return in one line which stages of the two networks are compared; "" if none is."""
        del student, teacher
        return ""

    def with_images(self, student: Network) -> nn.Module | None:
        """Return what predicts from a batch with `batch_fields`; None if the student is all.

        Parameters
        ----------
        student
            Trained, in evaluation mode.
        """
        del student
        return None

    def synchronize(self) -> None:
        """Exchange what the processes of a run have measured; called by all after each forward.

        The place for sums over processes: within `forward` one process can fail alone.
        """
