"""What rules on spike counts share."""
