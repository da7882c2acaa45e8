"""The model, in two forms.

params    its parameters as plain tensors: names, shapes, initial values, the packed form that the engine reads
hooked    ICLTransformer, a HookedTransformer
foreign   models from elsewhere, without their weights (engine/foreign.py runs them)
lens      the one importer of `transformer_lens`
dtypes    in which precision weights are kept
"""
