"""Pure functions from arrays to small records: blends, honest scores, disagreement, statistics, pages. No torch."""
