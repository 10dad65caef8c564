"""Heads over tokens, spans, choices and whole embeddings: logits, loss, gradients and one AdamW step of tiny random models, by transformers (and sentence-transformers' loss)."""

import shutil
import sys

import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from encoders import MODERN
from families import DECODER, OPT, QWEN_EXPERTS, VOCAB, one_step, rope
from fixture import ROOT, numbers, perturb, random_tokens, write_fixture
from label_heads import BART_SMALL, GPT2, PAD, T5_SMALL

RECIPE = (
    "random weights as in families.py, float32, eager attention, eval mode; every document alone and unpadded, so that no padding is in a sum; "
    "gradients of the mean loss; then one torch.optim.AdamW step as in families.py"
)
BERT = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=64,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
GPT2 = dict(GPT2, n_layer=1)
LLAMA = dict(DECODER, num_hidden_layers=1)
SPANS = [[2, 4], [0, 0], [6, 6], [3, 9]]
MODERNBERT = dict(MODERN, num_hidden_layers=2)
LENGTHS = [9, 12, 7, 10]
IGNORED = -100

# name: (task, class, options of its config, what the documents are labelled with)
CASES = {
    "gpt2-tokens": ("token-classification", "GPT2ForTokenClassification", dict(GPT2, classifier_dropout=0.0), None),
    "llama-tokens": ("token-classification", "LlamaForTokenClassification", dict(LLAMA, classifier_dropout=0.0), None),
    "bert-tokens": ("token-classification", "BertForTokenClassification", BERT, None),
    "gpt2-answers": ("question-answering", "GPT2ForQuestionAnswering", GPT2, SPANS),
    "bert-answers": ("question-answering", "BertForQuestionAnswering", BERT, SPANS),
    "bert-choices": ("multiple-choice", "BertForMultipleChoice", BERT, [1, 0]),
    "gpt2-embeddings-mean": ("sentence-embeddings", "GPT2Model", GPT2, "mean"),
    "llama-embeddings-last": ("sentence-embeddings", "LlamaModel", LLAMA, "last"),
    "bert-embeddings-first": ("sentence-embeddings", "BertModel", BERT, "first"),
    "modernbert-tokens": ("token-classification", "ModernBertForTokenClassification", MODERNBERT, None),
    "modernbert-answers": ("question-answering", "ModernBertForQuestionAnswering", MODERNBERT, SPANS),
    "modernbert-choices": ("multiple-choice", "ModernBertForMultipleChoice", MODERNBERT, [1, 0]),
    "modernbert-choices-mean": ("multiple-choice", "ModernBertForMultipleChoice", dict(MODERNBERT, classifier_pooling="mean"), [0, 1]),
    "modernbert-embeddings-mean": ("sentence-embeddings", "ModernBertModel", MODERNBERT, "mean"),
}
# Seeds are counted in this order, so new cases stand at the end.
CASES |= {
    f"{name}-answers": ("question-answering", f"{stem}ForQuestionAnswering", options, SPANS)
    for name, stem, options in [
        ("llama", "Llama", LLAMA),
        ("mistral", "Mistral", dict(LLAMA, sliding_window=5)),
        ("mixtral", "Mixtral", dict(LLAMA, intermediate_size=20, num_local_experts=4, num_experts_per_tok=2)),
        ("qwen2", "Qwen2", dict(LLAMA, use_sliding_window=False)),
        ("qwen3", "Qwen3", dict(LLAMA, head_dim=12)),
        ("qwen3_moe", "Qwen3Moe", dict(LLAMA, **QWEN_EXPERTS, norm_topk_prob=True)),
        ("smollm3", "SmolLM3", dict(LLAMA, no_rope_layers=[1])),
        ("gpt_neox", "GPTNeoX", dict(LLAMA, rope_parameters=rope("default", partial_rotary_factor=0.5), hidden_dropout=0.0, attention_dropout=0.0)),
        ("opt", "OPT", dict(LLAMA, **{**OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 20})),
    ]
}  # fmt: skip
CASES["t5-tokens"] = ("token-classification", "T5ForTokenClassification", dict(T5_SMALL, num_layers=2), None)
CASES["mt5-tokens"] = ("token-classification", "MT5ForTokenClassification", dict(T5_SMALL, feed_forward_proj="gated-gelu"), None)
CASES["t5-answers"] = ("question-answering", "T5ForQuestionAnswering", T5_SMALL, SPANS)
CASES["mt5-answers"] = ("question-answering", "MT5ForQuestionAnswering", dict(T5_SMALL, feed_forward_proj="gated-gelu"), SPANS)
CASES["bart-answers"] = ("question-answering", "BartForQuestionAnswering", BART_SMALL, SPANS)
NUM_TAGS = 5


def build(class_name, options, task):
    cls = getattr(transformers, class_name)
    labels = dict(num_labels=NUM_TAGS) if task == "token-classification" else {}
    kind = dict(add_pooling_layer=False) if class_name == "BertModel" else {}
    return cls._from_config(cls.config_class(**{**options, "pad_token_id": PAD, **labels}), attn_implementation="eager", **kind).eval()


def one(ids):
    return torch.tensor([ids])


def token_losses(model, documents, tags):
    """Mean over all tagged tokens; logits of every document."""
    logits = [model(input_ids=one(ids)).logits[0] for ids in documents]
    wanted = torch.tensor(sum(tags, []))
    return torch.nn.functional.cross_entropy(torch.cat(logits), wanted, ignore_index=IGNORED), logits


def answer_losses(model, documents, spans):
    outputs = [model(input_ids=one(ids), start_positions=torch.tensor([s]), end_positions=torch.tensor([e])) for ids, (s, e) in zip(documents, spans)]
    logits = [torch.stack([o.start_logits[0], o.end_logits[0]], -1) for o in outputs]
    return torch.stack([o.loss for o in outputs]).mean(), logits


def choice_losses(model, documents, answers):
    """Two choices for each question; documents of one question have the same length here, since transformers takes them as one tensor."""
    groups = [documents[0:2], documents[2:4]]
    inputs = [dict(input_ids=torch.tensor([group]), attention_mask=torch.ones(1, *torch.tensor(group).shape, dtype=torch.long)) for group in groups]
    outputs = [model(**asked, labels=torch.tensor([answer])) for asked, answer in zip(inputs, answers)]
    return torch.stack([o.loss for o in outputs]).mean(), [score.reshape(1) for o in outputs for score in o.logits[0]]


def embedding_losses(model, documents, pooling):
    """Anchor, positive, anchor, positive: MultipleNegativesRankingLoss of sentence-transformers, on our pooled vectors."""
    hidden = [model(input_ids=one(ids)).last_hidden_state[0] for ids in documents]
    vectors = [h.mean(0) if pooling == "mean" else h[-1] if pooling == "last" else h[0] for h in hidden]
    loss = MultipleNegativesRankingLoss(model=torch.nn.Identity())
    assert loss.scale == 20.0
    anchors, positives = torch.stack(vectors[0::2]), torch.stack(vectors[1::2])
    return loss.compute_loss_from_embeddings([anchors, positives], None), vectors


LOSSES = {"token-classification": token_losses, "question-answering": answer_losses, "multiple-choice": choice_losses, "sentence-embeddings": embedding_losses}


def write_case(name, seed):
    task, class_name, options, labels = CASES[name]
    folder = ROOT / "task-heads" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = build(class_name, options, task)
    perturb(model.named_parameters(), seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    lengths = [9, 9, 12, 12] if task == "multiple-choice" else LENGTHS
    rows = (random_tokens((len(lengths), max(lengths)), VOCAB - 1, seed) + 1).tolist()
    documents = [row[:n] for row, n in zip(rows, lengths)]
    if task == "token-classification":
        tags = (random_tokens((len(lengths), max(lengths)), NUM_TAGS + 1, seed + 1) - 1).tolist()
        labels = [[IGNORED if tag < 0 else tag for tag in row[:n]] for row, n in zip(tags, lengths)]

    def forward():
        loss, logits = LOSSES[task](model, documents, labels)
        return loss, [numbers(one) for one in logits]

    content = {
        "task": task,
        **({"sentenceTransformers": sentence_transformers.__version__} if task == "sentence-embeddings" else {}),
        "inputIds": documents,
        "labels": labels,
        **one_step(model, forward),
    }
    write_fixture(f"task-heads/{name}/reference.json", f"seed {seed}; {RECIPE}", content)


def main():
    """Arguments: cases to write; all where there are none."""
    for index, name in enumerate(CASES):
        if name in sys.argv[1:] or not sys.argv[1:]:
            write_case(name, seed=740 + index)


if __name__ == "__main__":
    main()
