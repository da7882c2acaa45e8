"""The same arithmetic as `ICLTransformer`, as pure functions on plain tensors.

No hooks and no state: parameters in, logits and activations out. Parameters may carry a
leading checkpoint axis and edits a leading condition axis. Never imports transformer_lens.
"""
