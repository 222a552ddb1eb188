"""The two final submissions, by validation: the strongest, and the most different of those that tie with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A submission that could be final."""

    name: str
    score: float  # honest, greater is better
    error: float
    answers: Mapping[str, str]  # cell by id
    public: float | None = None
    tainted: bool = False
    loss: bool = False  # the scores are a loss, negated: shown without the sign

    def shown(self, score: float) -> str:
        """A score as the board shows it."""
        return f"{-score if self.loss else score:.4f}"


@dataclass(frozen=True)
class Proposal:
    """A candidate and why it is proposed."""

    candidate: Candidate
    why: str


def propose(candidates: Sequence[Candidate]) -> list[Proposal]:
    """Up to two finals. Tainted ones (made with hand-labelled test images) are never proposed."""
    clean = [candidate for candidate in candidates if not candidate.tainted]
    if not clean:
        return []
    first = max(clean, key=lambda candidate: (candidate.score, candidate.name))
    chosen = [Proposal(first, f"the best honest score, {first.shown(first.score)} ± {first.error:.4f}")]
    rest = [candidate for candidate in clean if candidate is not first and differs(first, candidate) > 0]
    ties = [candidate for candidate in rest if first.score - candidate.score <= max(first.error, candidate.error)]
    if ties:
        second = max(ties, key=lambda candidate: (differs(first, candidate), candidate.score))
        why = (
            f"ties with the first ({second.shown(second.score)} ± {second.error:.4f}) and differs from it most, in "
            f"{differs(first, second):.1%} of the rows: the better hedge"
        )
        chosen.append(Proposal(second, why))
    elif rest:
        second = max(rest, key=lambda candidate: candidate.score)
        gap = first.score - second.score
        chosen.append(Proposal(second, f"the next best, {gap:.4f} behind: no other ties with the first"))
    return chosen


def differs(first: Candidate, second: Candidate) -> float:
    """Share of the rows that two submissions answer differently."""
    rows = first.answers.keys() & second.answers.keys()
    return sum(first.answers[row] != second.answers[row] for row in rows) / max(len(rows), 1)


def remarks(candidates: Sequence[Candidate], proposals: Sequence[Proposal]) -> list[str]:
    """What a person should know before overruling the proposal."""
    said = [
        f"{candidate.name} is tainted (hand-made test labels): left out"
        for candidate in candidates
        if candidate.tainted
    ]
    seen = [candidate for candidate in candidates if candidate.public is not None and not candidate.tainted]
    favourite = max(seen, key=lambda candidate: candidate.public or 0.0, default=None)
    names = {proposal.candidate.name for proposal in proposals}
    if favourite is not None and proposals and favourite.name not in names:
        best = proposals[0].candidate
        gap = best.score - favourite.score
        said.append(
            f"the public board likes {favourite.name} best ({favourite.shown(favourite.public or 0.0)}), validation "
            f"has it {gap:.4f} behind {best.name}; choosing by the public board is how places are lost in the shake-up"
        )
    return said
