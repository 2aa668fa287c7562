"""A class for every point of one cloud: python -m train.predict --help."""

import sys

from train.inference.cli import main
from train.inference.predict import predict, predict_frame

__all__ = ["main", "predict", "predict_frame"]

if __name__ == "__main__":
    sys.exit(main())
