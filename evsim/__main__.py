"""``python -m evsim`` is ``evsim``."""

from evsim.cli import main

main()
