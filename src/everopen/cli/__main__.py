"""`python -m everopen.cli` is `everopen`."""

import sys

from everopen.cli import main

sys.exit(main())
