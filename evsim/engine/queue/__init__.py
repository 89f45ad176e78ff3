"""The priority-queue engine: any network."""
