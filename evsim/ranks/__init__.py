"""Ranks: processes, or threads in tests, that do one piece of work together. See ``protocol``."""
