"""Folders of safetensors and state dicts: whose names they are, which step each is, and what is not read."""

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from mechicl.engine.forward import forward, logits
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import pack
from mechicl.series.verify import verify
from mechicl.sources.base import Asked
from mechicl.sources.opening import Settings, open_source

SETTINGS = Settings(length=16, n=16)
ARGS = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 20, "vocab_size": 30, "bias": False, "dropout": 0.0}


class NanoGPT(nn.Module):
    """nanoGPT's model.py, as small as it can be: its names, shapes and arithmetic."""

    def __init__(self, bias: bool):
        super().__init__()
        d = 16

        def norm():
            made = nn.Module()
            made.weight = nn.Parameter(1 + 0.2 * torch.randn(d))
            if bias:
                made.bias = nn.Parameter(0.2 * torch.randn(d))
            return made

        def linear(read, written):
            return nn.Linear(read, written, bias=bias)

        def block():
            return nn.ModuleDict(
                {
                    "ln_1": norm(),
                    "ln_2": norm(),
                    "attn": nn.ModuleDict({"c_attn": linear(d, 3 * d), "c_proj": linear(d, d)}),
                    "mlp": nn.ModuleDict({"c_fc": linear(d, 4 * d), "c_proj": linear(4 * d, d)}),
                }
            )

        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(30, d),
                "wpe": nn.Embedding(20, d),
                "ln_f": norm(),
                "h": nn.ModuleList([block(), block()]),
            }
        )
        self.lm_head = nn.Linear(d, 30, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight  # type: ignore

    def forward(self, ids):
        def norm(part, x):
            return F.layer_norm(x, (16,), part.weight, getattr(part, "bias", None), 1e-5)

        t: Any = self.transformer
        x = t["wte"](ids) + t["wpe"](torch.arange(ids.shape[1]))
        for b in t["h"]:
            q, k, v = (
                each.unflatten(-1, (2, 8)).transpose(1, 2)
                for each in b["attn"]["c_attn"](norm(b["ln_1"], x)).split(16, dim=2)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
            x = x + b["attn"]["c_proj"](y)
            x = x + b["mlp"]["c_proj"](F.gelu(b["mlp"]["c_fc"](norm(b["ln_2"], x))))
        return self.lm_head(norm(t["ln_f"], x))


def agrees(series, step, model) -> None:
    batch = series.evaluation_set("repeat")
    with torch.inference_mode():
        params = pack(series.weights(step))
        got = logits(params, forward(params, batch, series.config.model).final)
        torch.testing.assert_close(got, model(batch.ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_nanogpt_checkpoints_are_the_same_model(tmp_path, bias, compiled):
    models = {}
    for step in (250, 1000):
        torch.manual_seed(step)
        models[step] = NanoGPT(bias)
        state = {f"_orig_mod.{k}" if compiled else k: v for k, v in models[step].state_dict().items()}
        torch.save(
            {"model": state, "model_args": ARGS, "iter_num": step, "config": {"lr": 1.0}}, tmp_path / f"ckpt_{step}.pt"
        )
    with pytest.raises(ConfigError, match="--pickles"):
        open_source(tmp_path, tmp_path / "run", settings=SETTINGS, progress=False)
    series = open_source(tmp_path, tmp_path / "run", asked=Asked(pickles=True), settings=SETTINGS, progress=False)
    assert series.steps == [250, 1000]
    for step, model in models.items():
        agrees(series, step, model)
    assert verify(series.root) == []


def hooked_folder(root, steps=(0, 5), **cfg):
    """State dicts of HookedTransformers, as safetensors."""
    from mechicl.models.lens import hooked_transformer
    from mechicl.sources.layouts import model_of

    fields = {
        "n_layers": 2,
        "d_model": 16,
        "n_heads": 2,
        "d_head": 8,
        "d_mlp": 24,
        "n_ctx": 20,
        "d_vocab": 30,
        "act_fn": "relu",
        "normalization_type": "LN",
        "positional_embedding_type": "standard",
    } | cfg
    models = {}
    for step in steps:
        models[step] = hooked_transformer(model_of(fields))
        for i, p in enumerate(models[step].parameters()):
            nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(100 * step + i))
        state = {name: p.detach().contiguous() for name, p in models[step].named_parameters()}
        path = root / f"step_{step:04d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(state, path)
    return models


def test_transformer_lens_state_dicts(tmp_path):
    models = hooked_folder(tmp_path / "mine")
    with pytest.raises(ConfigError, match="act_fn"):
        open_source(tmp_path / "mine", tmp_path / "run", settings=SETTINGS, progress=False)
    (tmp_path / "cfg.json").write_text(json.dumps({"act_fn": "relu"}))
    series = open_source(
        tmp_path / "mine", tmp_path / "run", asked=Asked(model=tmp_path / "cfg.json"), settings=SETTINGS, progress=False
    )
    assert series.steps == [0, 5]
    for step, model in models.items():
        agrees(series, step, model)


@pytest.mark.parametrize("wrapped", ["_orig_mod.", "module.", "module._orig_mod."])
def test_a_hooked_transformer_that_was_saved_compiled_or_distributed(tmp_path, wrapped):
    root = tmp_path / "mine"
    models = hooked_folder(root)
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    for path in root.glob("*.safetensors"):
        save_file({f"{wrapped}{name}": x for name, x in load_file(path).items()}, path)
    series = open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)
    agrees(series, 5, models[5])
    path = root / "step_0007.safetensors"
    state = load_file(root / "step_0005.safetensors")
    save_file(state | {"unembed.b_U": state[f"{wrapped}unembed.b_U"] + 1}, path)
    with pytest.raises(SeriesError, match=r"step_0007.* unembed.b_U twice, once as"):
        open_source(root, series.root, settings=SETTINGS, progress=False)


def test_what_the_tensors_contradict_is_refused(tmp_path):
    hooked_folder(tmp_path / "mine")
    (tmp_path / "mine" / "config.json").write_text(json.dumps({"act_fn": "relu", "n_layers": 3}))
    with pytest.raises(ConfigError, match="n_layers=3"):
        open_source(tmp_path / "mine", tmp_path / "run", settings=SETTINGS, progress=False)


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    root = tmp_path / "mine"
    hooked_folder(root)
    hooked_folder(root, steps=(7,), d_mlp=32)
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    with pytest.raises((SeriesError, ConfigError), match=r"step_0007.*(shape|W_in)"):
        open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda state: state | {"blocks.2.attn.W_Q": state["blocks.1.attn.W_Q"].clone()},
            "blocks.2.attn.W_Q.*2 layers",
        ),
        (lambda state: state | {"blocks.1.attn.W_Z": torch.zeros(2)}, "W_Z, which the model.*does not have"),
        (lambda state: {k: v for k, v in state.items() if k != "blocks.1.attn.b_V"}, "no blocks.1.attn.b_V, though"),
        (lambda state: {k: v for k, v in state.items() if k != "blocks.1.attn.W_V"}, "no blocks.1.attn.W_V"),
    ],
)
def test_a_step_with_more_or_less_than_the_model_is_refused(tmp_path, change, said):
    root = tmp_path / "mine"
    hooked_folder(root)
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    save_file(change(load_file(root / "step_0005.safetensors")), root / "step_0005.safetensors")
    with pytest.raises((SeriesError, ConfigError), match=f"step_0005.*{said}"):
        open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.complex64])
def test_codes_of_a_quantised_model_are_no_weights(tmp_path, dtype):
    root = tmp_path / "mine"
    hooked_folder(root)
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    state = load_file(root / "step_0005.safetensors")
    name = "blocks.1.mlp.W_in"
    torch.save(state | {name: (100 * state[name]).to(dtype)}, root / "step_0005.pt")
    (root / "step_0000.safetensors").unlink()
    asked = Asked(pattern="step_{step}.pt", pickles=True)
    said = rf"step_0005.* {name} is of type {str(dtype).removeprefix('torch.')}: expected float64, .* quantised"
    with pytest.raises(SeriesError, match=said):
        open_source(root, tmp_path / "run", asked=asked, settings=SETTINGS, progress=False)


def test_buffers_of_older_state_dicts_are_no_weights(tmp_path):
    root = tmp_path / "mine"
    models = hooked_folder(root)
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    for path in root.glob("*.safetensors"):
        old = {"blocks.0.attn.mask": torch.ones(4, 4), "blocks.0.attn.IGNORE": torch.tensor(-1e5)}
        save_file(load_file(path) | old, path)
    series = open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)
    agrees(series, 5, models[5])


@pytest.mark.parametrize("name", ["batch_size", "length", "n"])
def test_numbers_below_one_are_refused_by_their_option(name):
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} 0: expected at least 1"):
        Settings(**{name: 0})


def test_the_pattern_says_which_number_is_the_step(tmp_path):
    root = tmp_path / "mine"
    hooked_folder(root, steps=(3, 8))
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    for step in (3, 8):
        (root / f"step_{step:04d}.safetensors").rename(root / f"run{step}_seed1.safetensors")
    with pytest.raises(ConfigError, match="both have step 1"):
        open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)
    asked = Asked(pattern="run{step}_seed*.safetensors")
    assert open_source(root, tmp_path / "run", asked=asked, settings=SETTINGS, progress=False).steps == [3, 8]
    for pattern, said in (("run.safetensors", "once"), ("x{step}.safetensors", "run3_seed1")):
        with pytest.raises(ConfigError, match=said):
            open_source(root, tmp_path / "other", asked=Asked(pattern=pattern), settings=SETTINGS, progress=False)


def test_what_is_opened_again_from_other_files_is_said(tmp_path, caplog):
    """The same step by another pattern: the series goes on with what it has."""
    root = tmp_path / "mine"
    hooked_folder(root, steps=(3,))
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    series = open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)
    (root / "ema_0003.safetensors").write_bytes((root / "step_0003.safetensors").read_bytes())
    again = open_source(
        root, series.root, asked=Asked(pattern="ema_{step}.safetensors"), settings=SETTINGS, progress=False
    )
    assert again.entry(3).file == "step_0003.safetensors"
    assert "was opened from step_0003.safetensors: the series goes on with that, not with ema_0003" in caplog.text


def test_pickles_that_are_trusted_later_are_read(tmp_path):
    root = tmp_path / "mine"
    hooked_folder(root, steps=(3,))
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    series = open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)
    later = {name: x + 0.01 for name, x in load_file(root / "step_0003.safetensors").items()}
    torch.save(later, root / "step_0005.pt")
    asked = Asked(pattern="step_{step}.*", pickles=True)
    assert open_source(root, series.root, asked=asked, settings=SETTINGS, progress=False).steps == [3, 5]


class Payload:
    path = ""

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    payload, owned = Payload(), tmp_path / "owned"
    payload.path = str(owned)
    torch.save({"model": payload}, tmp_path / "step_1.pt")
    with pytest.raises(SeriesError, match="not read"):
        open_source(tmp_path, tmp_path / "run", asked=Asked(pickles=True), settings=SETTINGS, progress=False)
    assert not owned.exists()


def test_a_torn_file_is_named(tmp_path):
    (tmp_path / "step_1.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(SeriesError, match="step_1"):
        open_source(tmp_path, tmp_path / "run", settings=SETTINGS, progress=False)


@pytest.mark.parametrize("torn", [0, 5, 9])
def test_a_torn_file_can_be_left_out(tmp_path, torn):
    root, steps = tmp_path / "mine", (0, 5, 9)
    models = hooked_folder(root, steps)
    (root / "config.json").write_text(json.dumps({"act_fn": "relu"}))
    path = root / f"step_{torn:04d}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SeriesError, match=f"{path.name} is not a complete .* leave step {torn} out with --steps"):
        open_source(root, tmp_path / "run", settings=SETTINGS, progress=False)
    others = tuple(step for step in steps if step != torn)
    series = open_source(root, tmp_path / "run", asked=Asked(steps=others), settings=SETTINGS, progress=False)
    assert series.steps == list(others)
    assert series.complete
    agrees(series, others[0], models[others[0]])


def test_names_that_nobody_has_are_refused(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "step_1.safetensors")
    with pytest.raises(ConfigError, match="names of TransformerLens"):
        open_source(tmp_path, tmp_path / "run", settings=SETTINGS, progress=False)
