"""Gradients written out, for the CPU: training.step takes them where they can be had, and autograd elsewhere.

gradients   forward and backward of a step, in turn
placed      which sequences share an exemplar's embedding
"""
