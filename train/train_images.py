"""Train a network on camera images, for methods that distill from them; --help lists the options.

python -m train.train_images --dataset nuscenes --simulate --output image.safetensors
"""

import sys

from train.engine.train_images import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
