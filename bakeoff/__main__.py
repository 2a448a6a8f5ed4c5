"""`python3 -m bakeoff`."""

import sys

from bakeoff.commands import main

try:
    sys.exit(main(sys.argv[1:]))
except KeyboardInterrupt:
    # By then the room of the trial cut off is cleared.
    sys.exit(130)
