"""``python -m captum_paramsal`` is the same as the command ``captum-paramsal``."""

import sys

from captum_paramsal.cli import main

if __name__ == "__main__":
    sys.exit(main())
