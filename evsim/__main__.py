"""``python -m evsim`` is ``evsim``."""

from evsim.cli.main import main

main()
