"""`python -m topodistill` and `torchrun -m topodistill`: the console command, from any folder."""

import sys

from topodistill.commands import main
from topodistill.shadowing import drop_current_folder

if __name__ == "__main__":
    drop_current_folder()
    sys.exit(main())
