"""Published training rules on their time grid, transcribed from papers and released code."""
