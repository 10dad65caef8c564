"""Dropout in the heads for labels: what a document passes behind the model while a head is trained, in order, for tiny models whose
config.json says nothing of dropout, and for some that say much. A dropout is written as its probability, a linear layer as "linear"."""

import torch
import transformers

from fixture import number, write_fixture

RECIPE = (
    "random weights, training mode; forward hooks on the modules that belong to the head (not to the model that it holds) write what is called, in order; "
    "config is what the class was made from, without what transformers adds"
)
SIZES = {
    "bert": dict(vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32),
    "distilbert": dict(vocab_size=40, dim=8, hidden_dim=12, n_layers=1, n_heads=2, max_position_embeddings=32),
    "modernbert": dict(vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32, pad_token_id=0, bos_token_id=2, eos_token_id=2, cls_token_id=2, sep_token_id=2),
    "bart": dict(vocab_size=40, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12, max_position_embeddings=32, decoder_start_token_id=2, eos_token_id=2, pad_token_id=1),
    "t5": dict(vocab_size=40, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0),
    "gpt2": dict(vocab_size=40, n_embd=8, n_layer=1, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0, pad_token_id=0),
    "gpt_neox": dict(vocab_size=40, hidden_size=16, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32, pad_token_id=0),
    "llama": dict(vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32, pad_token_id=0),
}  # fmt: skip
SIZES |= {"roberta": SIZES["bert"], "mt5": SIZES["t5"], "qwen2": SIZES["llama"]}
STEMS = {
    "bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert", "modernbert": "ModernBert", "bart": "Bart", "t5": "T5", "mt5": "MT5",
    "gpt2": "GPT2", "gpt_neox": "GPTNeoX", "llama": "Llama", "qwen2": "Qwen2",
}  # fmt: skip
ENDS = {
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
}
# What config.json says of dropout, beside saying nothing.
SAID = {
    "bert": [dict(hidden_dropout_prob=0.3), dict(hidden_dropout_prob=0.3, classifier_dropout=0.2)],
    "roberta": [dict(hidden_dropout_prob=0.3), dict(hidden_dropout_prob=0.3, classifier_dropout=0.2)],
    "distilbert": [dict(dropout=0.3, seq_classif_dropout=0.4, qa_dropout=0.6)],
    "modernbert": [dict(classifier_dropout=0.2)],
    "bart": [dict(classifier_dropout=0.2)],
    "t5": [dict(classifier_dropout=0.2)],
    "mt5": [dict(classifier_dropout=0.2)],
    "gpt2": [dict(hidden_dropout=0.3), dict(classifier_dropout=0.2)],
    "gpt_neox": [dict(classifier_dropout=0.2)],
    "llama": [dict(classifier_dropout=0.2)],
    "qwen2": [dict(hidden_dropout=0.3)],
}


def passed(model, head):
    """Names of the head's modules that a document passes, in the order of their calls."""
    steps = []
    for name, module in model.named_modules():
        if name.split(".")[0] == model.base_model_prefix or name.split(".")[0] in ("shared", "encoder", "decoder"):
            continue
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda m, *_: steps.append(number(m.p)))
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda *_: steps.append("linear"))
    ids = torch.tensor([[5, 6, 7, model.config.eos_token_id or 2]])
    model.train()(**({"input_ids": ids[None]} if head == "multiple-choice" else {"input_ids": ids}))
    return steps


def main():
    cases = []
    for family, stem in STEMS.items():
        for head, end in ENDS.items():
            cls = getattr(transformers, stem + end, None)
            for said in [{}, *SAID[family]] if cls else []:
                config = {**SIZES[family], **said}
                model = cls._from_config(cls.config_class(**config, num_labels=2), attn_implementation="eager")
                cases.append({"head": head, "config": {"model_type": family, **config}, "passed": passed(model, head)})
    write_fixture("head-dropout/reference.json", RECIPE, {"cases": cases})


if __name__ == "__main__":
    main()
