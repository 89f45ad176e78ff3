"""A rule's gradient beside the true one."""
