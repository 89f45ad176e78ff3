"""Neuron models: their parameters, and the flat arrays that every kernel takes."""
