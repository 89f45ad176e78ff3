"""How a gradient agrees with the true one: the figures, the limits that an exact rule must keep, and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from evsim.types import Floats

LIMITS = {"EventProp": 1e-9, "FD float64": 1e-4, "FD 50 digits": 1e-9}
"""Largest relative error of a rule that claims to be exact, by what it is compared with. Differences of the float64
engine have an error of their own, that of spike times (some 1e-14 ms) over the step."""


@dataclass(frozen=True)
class Agreement:
    """How one gradient agrees with another, over the parameters that were compared.

    layer, parameter, against : what was compared; n : number of parameters
    relative_error : |a - b|/|b|; cosine; sign_agreement : share of equal signs where b is not 0; scale : <a, b>/<b, b>
    """

    layer: int
    parameter: str
    against: str
    n: int
    relative_error: float
    cosine: float
    sign_agreement: float
    scale: float

    def verdict(self, exact: bool) -> str:
        """In a word or two. exact : does the rule claim to be exact?

        "exact" or "WRONG": within or beyond its limit (``LIMITS``), for an exact rule; "descends" or "ascends": a small
        step along an approximate gradient lowers or raises the true loss, as its cosine is > 0 or not; "gives 0": it is
        0 where the true one is not; "untested": the true gradient is 0 in all that was compared, or too small for what
        it is compared with to tell.
        """
        if exact and not self.relative_error <= LIMITS[self.against]:
            return "WRONG"
        if np.isnan(self.scale):
            return "untested"
        if exact:
            return "exact"
        if np.isnan(self.cosine):
            return "gives 0"
        return "descends" if self.cosine > 0 else "ascends"


def agreement_of(
    layer: int, name: str, against: str, a: Floats, b: Floats, least: float = 0.0
) -> Agreement:
    """How ``a`` agrees with ``b``, both flat.

    least : what ``b`` comes from tells nothing of gradients whose norm is smaller; if both are, both count as 0
    """
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if max(norm_a, norm_b) < least:
        a, b, norm_a, norm_b = 0.0 * a, 0.0 * b, 0.0, 0.0
    nonzero = b != 0.0
    return Agreement(
        layer, name, against, int(a.size),
        float(np.linalg.norm(a - b)) / norm_b if norm_b else (0.0 if norm_a == 0.0 else float("inf")),
        float(a @ b) / (norm_a * norm_b) if norm_a * norm_b else float("nan"),
        float(np.mean(np.sign(a[nonzero]) == np.sign(b[nonzero]))) if nonzero.any() else float("nan"),
        float(a @ b) / norm_b**2 if norm_b else float("nan"),
    )  # fmt: skip


@dataclass(frozen=True)
class GradientReport:
    """What ``check_gradient`` found.

    rows : the agreements; worst_conditioning : of all spikes, the largest |theta|/(tau_m dv/dt) at threshold
    true_loss : the loss whose true gradient is taken
    exact : is the rule held to be exact?
    notes : what was not compared, and why
    pairs : (layer, parameter) -> (the rule's gradient, EventProp's), flat, for plots
    """

    rows: list[Agreement]
    worst_conditioning: float
    true_loss: str
    exact: bool = False
    notes: tuple[str, ...] = ()
    pairs: dict[tuple[int, str], tuple[Floats, Floats]] = field(repr=False, default_factory=dict)

    def asdicts(self) -> list[dict[str, Any]]:
        """The rows as plain values, with their verdicts."""
        return [{**asdict(row), "verdict": row.verdict(self.exact)} for row in self.rows]

    @property
    def cosine(self) -> float:
        """Cosine of the rule's gradient with the true one, over all parameters of all layers; NaN if one is 0."""
        a, b = (np.concatenate([np.empty(0), *(pair[side] for pair in self.pairs.values())]) for side in (0, 1))
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float(a @ b) / norms if norms else float("nan")

    @property
    def ok(self) -> bool:
        """Is an exact rule exact in every row, and an approximate one not 0, and was anything compared?"""
        verdicts = [row.verdict(self.exact) for row in self.rows]
        return ("exact" in verdicts and "WRONG" not in verdicts) if self.exact else not np.isnan(self.cosine)

    @property
    def verdict(self) -> str:
        """In a sentence."""
        wrong = [row for row in self.rows if row.verdict(self.exact) == "WRONG"]
        if wrong:
            worst = max(wrong, key=lambda row: row.relative_error / LIMITS[row.against])
            return (
                f"WRONG: {len(wrong)} of {len(self.rows)} rows are beyond their limits; the worst is {worst.parameter} "
                f"of layer {worst.layer + 1} against {worst.against}, {worst.relative_error:.1e} where "
                f"{LIMITS[worst.against]:.0e} is allowed."
            )
        if not self.ok:
            return "UNTESTED: the gradients are 0, so nothing was compared. Take inputs that make all layers spike."
        if self.exact:
            return "exact: every row is within its limit."
        does = "lowers" if self.cosine > 0 else "raises"
        return f"approximate: cosine {self.cosine:.3f} with the true gradient; a small step along it {does} that loss."

    reference: ClassVar[str] = "the gradient of the given inputs (EventProp)"
