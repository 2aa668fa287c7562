"""When, where and by which code a run was done: what every record says of it."""

from datetime import UTC, datetime
from typing import Any

import torch

from train.core import provenance
from train.core.device import describe_device


def circumstances(device: torch.device) -> dict[str, Any]:
    """Return `versions`, `commit`, `device` and `utc` of a `RunRecord` that ends now.

    Parameters
    ----------
    device
        Where the run was computed.
    """
    found = provenance.commit()
    commit = found["commit"]
    return {
        "versions": provenance.versions(),
        "commit": None if commit is None else f"{commit}{'+' * bool(found['dirty'])}",
        "device": f"{describe_device(device)}, {provenance.processor()}",
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
