"""Logits, loss, gradients and one AdamW step of a tiny random model of each family, by transformers."""

import json
import shutil

import torch
import transformers

from fixture import ROOT, number, numbers, perturb, random_tokens, summaries, write_fixture

VOCAB = 97
OPTIMIZER = {"name": "adamw", "learningRate": 0.01, "weightDecay": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-5}
RECIPE = (
    "random weights (matrices and biases normal with deviation 0.2, norm weights 1 plus the same), float32, eager attention, eval mode; "
    "loss is the mean cross-entropy with labels = inputIds, shifted inside the model; gradients of that loss; then one torch.optim.AdamW step, "
    "decay on tensors of two dimensions or more only, epsilon 1e-5 so that entries whose gradient is rounding noise stay where they are"
)
PACKED_RECIPE = "each document run alone from position 0 and the logits joined; loss is the mean over the targets inside documents, each document's first token left out"

DECODER = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=None,
)  # fmt: skip


def rope(rope_type, theta=10000.0, **options):
    return {"rope_type": rope_type, "rope_theta": theta, **options}


OPT = dict(ffn_dim=48, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, word_embed_proj_dim=32, tie_word_embeddings=True)
GEMMA = dict(head_dim=12, query_pre_attn_scalar=20, sliding_window=4, layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=True)


def longrope(trained):
    """Options of a Phi-3 that was first trained for `trained` tokens; three pairs of channels turn."""
    factors = dict(short_factor=[1.0, 1.1, 1.3], long_factor=[1.2, 2.5, 5.0], partial_rotary_factor=0.75)
    return dict(rope_parameters=rope("longrope", **factors, original_max_position_embeddings=trained), original_max_position_embeddings=trained)


QWEN_EXPERTS = dict(num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20, head_dim=12)

# name: (config class, options over DECODER, T). Windows and trained lengths are below T, so that they matter.
CASES = {
    "llama": ("Llama", dict(rope_parameters=rope("default", theta=5000.0), rms_norm_eps=1e-5), 12),
    "llama-tied": ("Llama", dict(tie_word_embeddings=True), 12),
    "llama-bias": ("Llama", dict(attention_bias=True, mlp_bias=True, head_dim=12), 12),
    "llama-rope-linear": ("Llama", dict(rope_parameters=rope("linear", factor=3.0)), 12),
    "llama-rope-dynamic": ("Llama", dict(rope_parameters=rope("dynamic", factor=2.0), max_position_embeddings=10), 16),
    "llama-rope-llama3": (
        "Llama",
        dict(rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64), max_position_embeddings=512),
        16,
    ),
    "llama-rope-yarn": (
        "Llama",
        dict(rope_parameters=rope("yarn", factor=4.0, beta_fast=8.0, beta_slow=1.0, original_max_position_embeddings=64), max_position_embeddings=256),
        16,
    ),
    "mistral": ("Mistral", dict(sliding_window=5), 12),
    "qwen2": ("Qwen2", dict(use_sliding_window=False, tie_word_embeddings=True), 12),
    "qwen2-window": ("Qwen2", dict(use_sliding_window=True, sliding_window=4, max_window_layers=1), 12),
    "qwen3": ("Qwen3", dict(head_dim=12), 12),
    "smollm3": ("SmolLM3", dict(no_rope_layers=[1, 0], tie_word_embeddings=True), 12),
    "gpt2": ("GPT2", dict(), 12),
    "granite": ("Granite", dict(embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.2, logits_scaling=2.5, tie_word_embeddings=True), 12),
    "olmo2": ("Olmo2", dict(), 12),
    "gemma2": ("Gemma2", dict(GEMMA, attn_logit_softcapping=3.0, final_logit_softcapping=4.0), 12),
    "gemma3_text": ("Gemma3Text", dict(GEMMA), 12),
    "gpt_neox": ("GPTNeoX", dict(rope_parameters=rope("default", partial_rotary_factor=0.5), hidden_dropout=0.0, attention_dropout=0.0, hidden_act="gelu"), 12),
    "gpt_neox-sequential": ("GPTNeoX", dict(rope_parameters=rope("default", partial_rotary_factor=0.25), use_parallel_residual=False, hidden_act="gelu"), 12),
    "opt": ("OPT", dict(OPT), 12),
    "opt-350m": ("OPT", dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=20), 12),
    "phi3": ("Phi3", dict(sliding_window=5), 12),
    "mixtral": ("Mixtral", dict(intermediate_size=20, num_local_experts=4, num_experts_per_tok=2), 12),
    "qwen3_moe": ("Qwen3Moe", dict(QWEN_EXPERTS, norm_topk_prob=True, mlp_only_layers=[1]), 12),
    "qwen3_moe-shares": ("Qwen3Moe", dict(QWEN_EXPERTS, norm_topk_prob=False, decoder_sparse_step=2), 12),
}
# The same model below and above the length that it was first trained for.
CASES["phi3-longrope-short"] = ("Phi3", longrope(16), 12)
CASES["phi3-longrope-long"] = ("Phi3", longrope(8), 12)
PACKED = {"llama": [5, 7], "mistral": [4, 8], "qwen3": [5, 7], "gpt2": [5, 7], "gemma3_text": [5, 7], "opt": [5, 7]}


def build_model(class_name, options, seed):
    config = build_config(class_name, options)
    model = getattr(transformers, model_class_name(class_name))._from_config(config, attn_implementation="eager").eval()
    perturb(model.named_parameters(), seed)
    return model


def build_config(class_name, options):
    if class_name == "GPT2":
        sizes = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
        return transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2, **options)
    return getattr(transformers, f"{class_name}Config")(**{**DECODER, **options})


def model_class_name(class_name):
    return {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(class_name, f"{class_name}ForCausalLM")


def adamw(model):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": OPTIMIZER["weightDecay"]}, {"params": others, "weight_decay": 0.0}]
    betas = (OPTIMIZER["beta1"], OPTIMIZER["beta2"])
    return torch.optim.AdamW(groups, lr=OPTIMIZER["learningRate"], betas=betas, eps=OPTIMIZER["epsilon"])


EXPERTS = {"mixtral": ("block_sparse_moe", "w1", "w3", "w2"), "qwen3_moe": ("mlp", "gate_proj", "up_proj", "down_proj")}


def named_as_in_file(model, of=lambda parameter: parameter):
    """Parameters, or what `of` makes of each, by the names of the file, where transformers 5 calls them otherwise in memory."""
    renamed = {"lm_head.weight": "embed_out.weight"} if model.config.model_type == "gpt_neox" else {}
    for name, parameter in model.named_parameters():
        if model.config.model_type in EXPERTS:
            yield from experts_as_in_file(name, of(parameter), *EXPERTS[model.config.model_type])
        else:
            yield renamed.get(name, name), of(parameter)


def experts_as_in_file(name, tensor, module, gate, up, down):
    """transformers 5 joins the experts of a block in memory; a file has three matrices for each."""
    name = name.replace(".mlp.experts.", f".{module}.experts.").replace(".mlp.gate.", f".{module}.gate.")
    block, _, part = name.rpartition(".")
    if not block.endswith(".experts"):
        yield name, tensor
        return
    for index, matrix in enumerate(tensor):
        matrices = zip((gate, up), matrix.chunk(2)) if part == "gate_up_proj" else [(down, matrix)]
        for local, own in matrices:
            yield f"{block}.{index}.{local}.weight", own


def reference(model, input_ids):
    position_ids = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    output = model(input_ids=input_ids, position_ids=position_ids, labels=input_ids, use_cache=False)
    output.loss.backward()
    content = {
        "inputIds": input_ids.tolist(),
        "positionIds": position_ids.tolist(),
        "loss": number(output.loss.item()),
        "logits": numbers(output.logits),
        "gradients": summaries(named_as_in_file(model, of=lambda parameter: parameter.grad)),
        "optimizer": OPTIMIZER,
    }
    adamw(model).step()
    with torch.no_grad():
        loss_after = model(input_ids=input_ids, labels=input_ids, use_cache=False).loss
    return {**content, "parametersAfterStep": summaries(named_as_in_file(model)), "lossAfterStep": number(loss_after.item())}


def one_step(model, forward):
    """What `forward` gives, a loss and logits to show; every gradient; and the loss after one step of AdamW."""
    loss, logits = forward()
    loss.backward()
    content = {
        "loss": number(loss.item()),
        "logits": logits,
        "gradients": summaries((name, grad) for name, grad in named_as_in_file(model, of=lambda parameter: parameter.grad) if grad is not None),
        "optimizer": OPTIMIZER,
    }
    adamw(model).step()
    with torch.no_grad():
        after, _ = forward()
    return {**content, "lossAfterStep": number(after.item())}


def packed_reference(model, input_ids, lengths):
    documents = torch.split(input_ids, lengths)
    logits = [model(input_ids=d[None], use_cache=False).logits[0] for d in documents]
    predictions = torch.cat([rows[:-1] for rows in logits])
    targets = torch.cat([d[1:] for d in documents])
    loss = torch.nn.functional.cross_entropy(predictions, targets)
    model.zero_grad()
    loss.backward()
    check_against_mask(model, input_ids, lengths, torch.cat(logits))
    return {
        "inputIds": [input_ids.tolist()],
        "positionIds": [[position for length in lengths for position in range(length)]],
        "documentIds": [[index for index, length in enumerate(lengths) for _ in range(length)]],
        "loss": number(loss.item()),
        "logits": numbers(torch.cat(logits)[None]),
        "gradients": summaries((name, p.grad) for name, p in model.named_parameters()),
    }


def check_against_mask(model, input_ids, lengths, expected):
    """One packed row, restarting positions and a block-diagonal causal mask must give what the documents gave alone."""
    if getattr(model.config, "sliding_window", None):
        return  # a ready mask would replace the window
    documents = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    allowed = (documents[:, None] == documents[None, :]).tril()
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)[None, None]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    logits = model(input_ids=input_ids[None], position_ids=positions, attention_mask=mask, use_cache=False).logits[0]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def legacy_config(config):
    """The config.json that transformers 4 wrote: most checkpoints in the world have this form."""
    if config["model_type"] == "gpt_neox":
        return {**config, "rope_parameters": None, "rotary_pct": config["rope_parameters"]["partial_rotary_factor"], "rotary_emb_base": 10000}
    old = {key: value for key, value in config.items() if key not in ("rope_parameters", "layer_types", "dtype", "transformers_version")}
    scaling = dict(config["rope_parameters"])
    if "full_attention" in scaling:  # Gemma 3
        old["rope_local_base_freq"] = scaling["sliding_attention"]["rope_theta"]
        old["sliding_window_pattern"] = 2
        scaling = dict(scaling["full_attention"])
    old["rope_theta"] = scaling.pop("rope_theta")
    if scaling["rope_type"] == "longrope":  # Phi-3 keeps the rest beside it
        del scaling["rope_type"], scaling["original_max_position_embeddings"]
        old["partial_rotary_factor"] = scaling.pop("partial_rotary_factor")
        return {**old, "rope_scaling": {"type": "longrope", **scaling}, "torch_dtype": "float32", "transformers_version": "4.40.0"}
    old["rope_scaling"] = None if scaling["rope_type"] == "default" else scaling
    if config["model_type"] == "qwen2" and not config["use_sliding_window"]:
        old["sliding_window"] = 4  # Qwen2 checkpoints name a window that they do not use
    return {**old, "torch_dtype": "float32", "transformers_version": "4.40.0"}


def write_legacy_config(folder, class_name, input_ids, expected):
    config = json.loads((folder / "config.json").read_text())
    if "rope_parameters" not in config:
        return
    old = legacy_config(config)
    (folder / "config.legacy.json").write_text(json.dumps(old, indent=2) + "\n")
    loaded = getattr(transformers, f"{class_name}Config")(**old)
    model = getattr(transformers, model_class_name(class_name)).from_pretrained(folder, config=loaded, attn_implementation="eager")
    torch.testing.assert_close(model(input_ids=input_ids).logits, expected, atol=1e-6, rtol=1e-6)


def write_case(name, seed):
    class_name, options, length = CASES[name]
    folder = ROOT / "families" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = build_model(class_name, options, seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    input_ids = random_tokens((2, length), VOCAB, seed)
    input_ids[0, 3] = 0  # row 0 of the embedding gets a gradient: its first values are compared
    write_legacy_config(folder, class_name, input_ids, model(input_ids=input_ids).logits)
    if name in PACKED:
        content = packed_reference(model, input_ids[1], PACKED[name])
        write_fixture(f"families/{name}/packed.json", f"seed {seed}; {PACKED_RECIPE}", content)
        model.zero_grad()
    write_fixture(f"families/{name}/reference.json", f"seed {seed}; {RECIPE}", reference(model, input_ids))


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=100 + index)


if __name__ == "__main__":
    main()
