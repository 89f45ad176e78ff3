"""The sweep: feed-forward layers, on threads."""
