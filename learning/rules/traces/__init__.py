"""What S-TLLR and OTTT are made of."""
