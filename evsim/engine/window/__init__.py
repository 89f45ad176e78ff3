"""The window engine: recurrent networks with delays, on threads."""
