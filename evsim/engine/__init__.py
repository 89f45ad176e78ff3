"""Engines: which one runs a network, and how a run is carried on, saved and resumed."""
