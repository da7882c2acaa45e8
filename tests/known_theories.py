"""Parameters of theories whose curves rise and fade."""

COOPETITION_LIKE = {
    "rate": 600.0,
    "slower": 0.03,
    "mu1": 0.05,
    "alpha": 0.03,
    "a0": 0.01,
    "d0": 0.24,
    "s0": 0.12,
    "sigma": 0.05,
    "eta_icl": 0.35,
    "eta_iwl": 0.2,
    "kappa": 0.95,
}
