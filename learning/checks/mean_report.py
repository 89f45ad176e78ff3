"""What came out of holding a rule beside the gradient of the mean loss over random input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.learning.checks.mean_gradient import MeanAgreement

_SURE, _BIAS, _WIDE = 2.0, 0.01, 0.1
"""Standard errors beyond which a difference is taken to be one; what the differences' own step may be off; a standard
error from which on nothing is said to agree."""


@dataclass(frozen=True)
class MeanReport:
    """What ``check_gradient(..., reference="mean")`` found.

    rows : one for each layer, the last for all layers together (layer -1)
    draws : of the reference and of the rule; noise : of the reference's worst layer, standard error by norm
    true_loss : the loss whose mean it is
    """

    rows: list[MeanAgreement]
    draws: int
    noise: float
    true_loss: str
    reference: ClassVar[str] = "the gradient of the mean loss over random inputs (differences)"

    def asdicts(self) -> list[dict[str, Any]]:
        """The rows as plain values, with their verdicts, the reference and its noise."""
        of_reference = {"reference": "mean", "draws": self.draws, "reference_noise": self.noise}
        return [{**asdict(row), "verdict": row_verdict(row), **of_reference} for row in self.rows]

    @property
    def cosine(self) -> float:
        """Over all layers; NaN where noise hides one of the gradients."""
        return self.rows[-1].cosine

    @property
    def ok(self) -> bool:
        """Was anything compared?"""
        return bool(np.isfinite(self.cosine))

    @property
    def verdict(self) -> str:
        """In a sentence."""
        if not self.ok:
            return (
                f"UNTESTED: the noise of {self.draws} draws hides a gradient, or it is 0. Give more draws, or inputs "
                "that make all layers spike."
            )
        row = self.rows[-1]
        return (
            f"cosine {row.cosine:.3f} +- {row.cosine_error:.3f} with {self.reference}, norm {row.norm_ratio:.3f} +- "
            f"{row.norm_ratio_error:.3f} of its norm, over {self.draws} draws: {_SENTENCES[row_verdict(row)]}."
        )


_SENTENCES = {
    "agrees": "no difference beyond two standard errors and 1 %",
    "descends": "a small step along it lowers the mean loss",
    "ascends": "a small step along it raises the mean loss",
    "unclear": "more draws must tell whether it lowers the mean loss",
}


def row_verdict(row: MeanAgreement) -> str:
    """In a word: "agrees" within two standard errors and 0.01 of cosine and norm; else what a small step along the
    gradient does to the mean loss, "descends", "ascends" or "unclear"; "hidden": noise hides a gradient."""
    if not np.isfinite(row.cosine):
        return "hidden"
    sharp = max(row.cosine_error, row.norm_ratio_error) < _WIDE
    same = sharp and abs(row.cosine - 1.0) <= _SURE * row.cosine_error + _BIAS
    if same and abs(row.norm_ratio - 1.0) <= _SURE * row.norm_ratio_error + _BIAS:
        return "agrees"
    if abs(row.cosine) <= _SURE * row.cosine_error:
        return "unclear"
    return "descends" if row.cosine > 0 else "ascends"
