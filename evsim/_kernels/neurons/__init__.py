"""Formulas of one neuron between two events."""
