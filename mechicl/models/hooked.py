"""`ICLTransformer`: a real TransformerLens `HookedTransformer` over the sequences of a run's task.

Everything a HookedTransformer does works: `run_with_cache`, `run_with_hooks`,
`ActivationCache`, `FactoredMatrix`; the hook names are the usual ones.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from mechicl import card
from mechicl.config import Config
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions import Intervention, as_interventions, edits
from mechicl.interventions.apply import wanted_of
from mechicl.interventions.base import by_sequences, elsewhere
from mechicl.models.lens import (
    HookedTransformer,
    HookedTransformerConfig,
    HookPoint,
    LayerNormPre,
    ProcessWeights,
    TransformerBlock,
    own_config,
)
from mechicl.models.params import Params, check_weights, init, rotary_tables, shapes, sinusoidal_positions
from mechicl.models.switches import running, switched
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.known import kind_of, task_of
from mechicl.registry import looked_at
from mechicl.system.surroundings import own_settings

_HOOKS_WE_RELY_ON = ("attn.hook_pattern", "attn.hook_attn_scores", "attn.hook_z", "attn.hook_v")


class ICLTransformer(HookedTransformer):
    """The `HookedTransformer` of a checkpoint. It reads a batch of the run's task (`TaskBatch`).

    `model(batch)` gives its answers [b, t, outputs] as usual, and `model(batch, return_type="loss")` the task's loss.
    The task defines the embedding of each position, and whether every position or only the last has an answer
    (`TaskBatch.embed`, `TaskBatch.everywhere`).

    With `fold_ln` it is the same function in the form that TransformerLens' helpers assume. Weights and biases of
    LayerNorms are folded into the matrices that read from them (whose biases then are not 0). What writes to the
    residual stream is centred. W_U is centred over labels, so logits are relative to their mean. Value biases stay
    with their heads, so `hook_z` and every ablation are the same as without folding. Layers without an MLP get one of
    zeros, because helpers ask for all MLPs. Then the parts of a full decomposition sum to a logit difference, except
    for the unembedding's bias, which no component writes:

        stack = cache.get_full_resid_decomposition(expand_neurons=False, pos_slice=-1)
        parts = cache.logit_attrs(stack, y, other, pos_slice=-1)
        # logits[:, -1, y] - logits[:, -1, other] = parts.sum(0) + model.b_U[y] - model.b_U[other]
    """

    @own_settings()
    def __init__(self, config: Config, weights: Params | None = None, *, fold_ln: bool = False):
        """Build the model of a run; `weights` in TransformerLens shapes, default fresh ones."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(own_config(config))
        self.run_config: Config = config
        self.folded: bool = fold_ln
        if config.model.hooked and fold_ln:
            raise ConfigError("fold_ln folds the LayerNorms of mechicl's own models: leave it out for other models.")
        task = task_of(config)
        inputs = task.input_shapes(config.model)
        self._inputs = tuple(inputs)
        _add_parameters(self, inputs)
        for name in task.hooks(config.model):
            setattr(self, name, HookPoint())
        for layer in range(config.model.n_layers):
            if config.model.mlp_ratio and not config.model.has_mlp(layer) and not fold_ln:
                # HookedTransformer has MLPs everywhere or nowhere; a block of ours may have none.
                plain = dataclasses.replace(self.cfg, attn_only=True)
                self.blocks[layer] = TransformerBlock(plain, layer)
        if config.model.positions == "rotary" and not config.model.hooked:  # the engine's tables, to the bit
            cos, sin = rotary_tables(config.model, task.n_tokens)
            for block in self.blocks:
                block.attn.rotary_cos, block.attn.rotary_sin = cos.clone(), sin.clone()
        if fold_ln and config.model.layer_norm:
            self.cfg.normalization_type = "LNPre"
            self.ln_final: torch.nn.Module = LayerNormPre(self.cfg)
            for block in self.blocks:
                block.ln1 = LayerNormPre(self.cfg)
                if config.model.mlp_ratio:
                    block.ln2 = LayerNormPre(self.cfg)
        self.setup()  # hook names for the parts added above
        self.load_weights(init(config) if weights is None else weights)
        self._check_hooks()

    @own_settings()
    def load_weights(self, weights: Params) -> ICLTransformer:
        """Put a checkpoint's weights in place, bit for bit, or folded if the model is; returns self.

        What is never trained (biases of q, k, v and the attention output; fixed positions)
        is set to its constant.

        Raises:
            ConfigError: names a parameter that is missing, unknown or of the wrong shape; or the model was changed
                after it was built (`process_weights_`), so the weights do not fit it. Nothing is loaded then.
        """
        check_weights(weights, self.run_config, "weights")
        self._check_whole()
        own = dict(self.named_parameters())
        values = weights | {name: self._constant(name, p) for name, p in own.items() if name not in weights}
        if self.folded:
            values = _folded(values, self.cfg, task_of(self.run_config).writes(self.run_config.model))
        with torch.no_grad():
            for name, p in own.items():
                p.requires_grad_(name in weights).copy_(values[name])
        return self

    def weights(self) -> Params:
        """The trained parameters, in TransformerLens names and shapes. Copies.

        Raises:
            ConfigError: the model is folded: its parameters are not those that were trained.
        """
        if self.folded:
            raise ConfigError("a folded model does not have the trained parameters: use series.weights(step).")
        self._check_whole()
        own = dict(self.named_parameters())
        return {name: own[name].detach().clone() for name in shapes(self.run_config)}

    def _check_whole(self) -> None:
        """Raise if a parameter that was there when the model was built is gone."""
        own = dict(self.named_parameters())
        for name, shape in shapes(self.run_config).items():
            norm = self.folded and name.split(".")[-2].startswith("ln")
            if not norm and (name not in own or own[name].shape != shape):
                raise ConfigError(
                    f"this model has no parameter {name} any more: its LayerNorms were folded into other parameters "
                    "(process_weights_). Weights can be loaded into series.model(step), or, to have them folded each "
                    "time, into series.model(step, fold_ln=True)."
                )

    def _constant(self, name: str, p: Tensor) -> Tensor:
        """The value of a parameter that is never trained."""
        if name == "pos_embed.W_pos" and self.run_config.model.positions == "sinusoidal":
            return sinusoidal_positions(p.shape[0], p.shape[1], self.run_config.model.position_time)
        return torch.zeros(p.shape)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moved or cast (`to`, `double`, ...), every part is told: parts cast and move to what their cfg says."""
        out = super()._apply(fn, recurse)
        p = self.embed.W_E
        for part in self.modules():
            if hasattr(part, "cfg"):
                part.cfg.dtype, part.cfg.device = p.dtype, str(p.device)  # pyright: ignore
        return out

    def input_to_embed(  # type: ignore[override]
        self, input: TaskBatch, **_: object
    ) -> tuple[Tensor, TaskBatch, Tensor | None, None]:
        """A batch's first residual stream, through the usual hooks. As in HookedTransformer."""
        kind = kind_of(self.run_config)
        if not isinstance(input, TaskBatch) or not input.is_of(kind):
            raise TypeError(
                f"ICLTransformer reads a mechicl Batch of the task {kind!r}, not {type(input).__name__}; make one "
                f"with series.evaluation_set({looked_at(self.run_config)!r})."
            )
        input = input.to(self.embed.W_E.device)
        own = dict(self.named_parameters())
        params: Params = {name: own[name] for name in self._inputs}
        embed = self.hook_embed(input.embed(params, self.run_config.model, lambda name, x: getattr(self, name)(x)))
        # Position modules read only the shape of `tokens`.
        tokens = torch.zeros(input.shape, dtype=torch.long, device=embed.device)
        residual, shortformer = self.get_residual(embed, 0, tokens=tokens, return_shortformer_pos_embed=True)
        return residual, input, shortformer, None  # the batch reaches `loss_fn` as its tokens

    def accumulated_bias(self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True) -> Tensor:
        """As in HookedTransformer, which fails if a layer has no MLP."""
        return super().accumulated_bias(layer, mlp_input, include_mlp_biases and not self.cfg.attn_only)

    def loss_fn(  # type: ignore[override]
        self, logits: Tensor, tokens: TaskBatch, attention_mask: Tensor | None = None, per_token: bool = False
    ) -> Tensor:
        """The task's loss of a batch (`tokens`), a scalar; if `per_token`, of each sequence [b], where it has one."""
        z = logits if tokens.everywhere else logits[:, -1]
        return tokens.losses(z) if per_token else tokens.loss(z)

    @own_settings()
    def hooks_for(self, intervention: Intervention, batch: TaskBatch) -> list[tuple[str, Callable[..., Any]]]:
        """An intervention as TransformerLens hooks for this batch.

        `model.run_with_hooks(batch, fwd_hooks=model.hooks_for(AblateHeads(heads=((1, 3),)), batch))`.
        Baselines that need the intact model (mean, resample, ...) run it once, here. If the model is moved or cast
        later, the hooks follow it.

        Examples:
            >>> model, batch = series.model(3000), series.evaluation_set("flip", n=100)
            >>> hooks = model.hooks_for(mechicl.AblateHeads(heads=((1, 3),)), batch)
            >>> model.run_with_hooks(batch, fwd_hooks=hooks).shape
            torch.Size([100, 5, 1024])
        """
        as_interventions([intervention])
        if intervention.reads is not None:
            raise ConfigError(
                f"{intervention}: it replaces the unembedding, which no hook can do: use series.evaluate or "
                "series.answers."
            )
        if intervention.changes_weights:
            raise ConfigError(
                f"{intervention}: it changes weights, which no hook can do: use model.load_weights("
                "intervention.weights(series.weights(step), series.weights))."
            )
        intervention.check(self.run_config.model)
        wanted = wanted_of([intervention], self.run_config.model)
        intact: dict[str, Tensor] = {}
        for kind, asked in (by_sequences(wanted) or {None: []}).items():
            read = batch if kind is None else batch.counterfactual(kind)
            with torch.no_grad(), running(self, asked):
                _, cache = self.run_with_cache(read, names_filter=lambda name, asked=asked: name in asked)
            intact |= {name if kind is None else elsewhere(kind, name): cache[name] for name in asked}
        planned = edits([intervention], self.run_config.model, intact, batch)

        written: dict[str, Tensor] = {}  # in the pass that is under way: what edits take off where others read it

        def hook(edit: Edit) -> Callable[..., Any]:
            return lambda x, hook: edit.like(x)(x, written).reshape(x.shape)  # the one condition's axis goes

        def keep(x: Tensor, hook: HookPoint) -> None:
            written[str(hook.name)] = x

        sources = {taken.source for edit in planned.values() for taken in edit.less}
        hooks: list[tuple[str, Callable[..., Any]]] = [(name, hook(edit)) for name, edit in planned.items()]
        hooks += [(name, keep) for name in sources]  # behind the edits: what was written after they changed it
        return switched(self, [name for name, _ in hooks], hooks)

    def __repr__(self) -> str:
        """One line; `print(torch.nn.Module.__repr__(model))` has every part."""
        trained = sum(math.prod(shape) for shape in shapes(self.run_config).values())
        p, folded = self.embed.W_E, ", LayerNorms folded" if self.folded else ""
        return (
            f"ICLTransformer({card.summary(self.run_config)}, {self.run_config.model.positions} positions, "
            f"{trained:,} parameters{folded}; {str(p.dtype)[6:]} on {p.device})"
        )

    def _check_hooks(self) -> None:
        missing = [
            f"blocks.{layer}.{hook}"
            for layer in range(self.cfg.n_layers)
            for hook in _HOOKS_WE_RELY_ON
            if f"blocks.{layer}.{hook}" not in self.hook_dict
        ]
        if missing:
            raise RuntimeError(f"this transformer_lens has no hook {missing}; install 3.9 <= version < 4.")


def _add_parameters(model: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    """Put parameters that HookedTransformer lacks, such as 'input.W', into modules of those names."""
    for name, shape in shapes.items():
        *path, leaf = name.split(".")
        place = model
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        if not hasattr(place, leaf):
            place.register_parameter(leaf, nn.Parameter(torch.empty(shape)))


def _folded(values: Params, cfg: HookedTransformerConfig, writes: Iterable[str]) -> Params:
    """All parameters of a model, LayerNorms' too, as TransformerLens folds and centres them. writes: parameters that
    write to the residual stream and that TransformerLens does not know (`Task.writes`)."""
    if cfg.normalization_type == "LNPre":
        values = values | {name: values[name] - values[name].mean(-1, keepdim=True) for name in writes}
    return ProcessWeights.process_weights(
        dict(values), cfg, fold_ln=cfg.normalization_type == "LNPre", fold_value_biases=False
    )
