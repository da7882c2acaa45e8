"""Parameters of theories, by hand."""

COOPETITION_LIKE = {  # its curves rise and fade
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

RATES = {  # of the accounts of rates (research/theories/rates.py)
    "rate": 700.0,
    "memorise": 0.35,
    "w0": 0.05,
    "beta0": 0.03,
    "y0": 0.1,
    "sigma": 0.2,
    "eta_icl": 0.5,
    "eta_iwl": 0.15,
    "kappa": 1.0,
}
