"""One file for each way a competition lies on disk; each yields records for the one index. No torch."""
