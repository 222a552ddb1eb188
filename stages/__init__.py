"""The verbs that DVC runs: one file is one stage, a pure core and a thin main."""
