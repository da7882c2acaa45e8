"""Exemplar banks and the sequences drawn over them."""
