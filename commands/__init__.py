"""The verbs that people run: podium diff, vote, predict, score and so on."""
