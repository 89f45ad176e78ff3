"""Networks of the literature and from files."""
