"""Secondary activations by name: stand-ins for the derivative of a spike by the potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels import surrogates as kernels
from evsim.learning.fields import check_fields
from evsim.types import Floats

SHAPES = {
    "triangle": (kernels.TRIANGLE, 1.0),
    "sigmoid": (kernels.SIGMOID, 4.0),
    "fast-sigmoid": (kernels.FAST, 2.0),
    "lorentzian": (kernels.LORENTZIAN, np.pi),
    "rectangle": (kernels.RECTANGLE, 2.0),
}
"""Each shape's number in the kernels, and its integral over all z."""


@dataclass(frozen=True)
class Surrogate:
    """psi(u) = height shape(slope (u/theta - 1)): u and theta above v_rest + bias, so that the threshold is 1.

    shape : "triangle" max(1 - |z|, 0), "sigmoid" 4 s(z)(1 - s(z)), "fast-sigmoid" 1/(1 + |z|)^2, "lorentzian"
        1/(1 + z^2), "rectangle" 1 where |z| < 1
    slope, height : > 0; height is psi at the threshold

    Papers' own: S-TLLR's S1 ... S4 (Apolinario and Roy 2025) as S1, S2, S3 (as in their code), S4 of this module; OTTT
    and rate-based backpropagation use the sigmoid of slope 4, which is S3; TSSL-BP's a = 0.2 is TSSL.
    """

    shape: str = "sigmoid"
    slope: float = 4.0
    height: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shape not in SHAPES:
            raise InputError(f"shape must be one of {', '.join(SHAPES)}; got {self.shape!r}.")
        for name in ("slope", "height"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be > 0; got {getattr(self, name)}.")

    @property
    def code(self) -> int:
        """The shape's number in the kernels."""
        return SHAPES[self.shape][0]

    @property
    def integral(self) -> float:
        """Over all potentials, in units of the threshold."""
        return self.height * SHAPES[self.shape][1] / self.slope

    def __call__(self, u: Any) -> Floats:
        """psi at potentials u, in units of the threshold, of any shape."""
        z = self.slope * (np.asarray(u, np.float64) - 1.0)
        values = np.empty(z.size)
        kernels.surrogates(self.code, self.height, z.ravel(), values)
        return values.reshape(z.shape)


S1 = Surrogate("fast-sigmoid", 100.0, 1.0)
S2 = Surrogate("triangle", 1.0, 0.3)
S3 = Surrogate("sigmoid", 4.0, 1.0)
S4 = Surrogate("lorentzian", 10.0, 1.0)
TSSL = Surrogate("sigmoid", 5.0, 1.25)
