"""How many cases hypothesis generates where a test says it itself."""

from hypothesis import settings

ALL = 50
"""Examples of the profile "all", that of `make test-all`."""


def examples(number: int) -> int:
    """So many in `make test-all`, as a share of them in `make test` as the profile in use has."""
    return max(4, round(number * settings.default.max_examples / ALL))
