"""Several hosts on one machine: the test bed and the tests that need it."""

import sys
from pathlib import Path

# What the bed shares with the product: its library, and set-up's templates.
sys.path[:0] = [str(Path(__file__).parents[2] / folder) for folder in ("_utils", "setup")]
