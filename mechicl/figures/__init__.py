"""Tidy tables and attention patterns as plotly figures and circuitsvis views."""
