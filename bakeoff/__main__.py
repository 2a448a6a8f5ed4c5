"""`python3 -m bakeoff`."""

import sys

from bakeoff.commands import main

sys.exit(main(sys.argv[1:]))
