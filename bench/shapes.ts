/** config.json of the shapes that are measured: well-known sizes, random weights. Both sides of a comparison are built from these. */
export interface BenchShape {
  readonly summary: string;
  /** What the peer opens it as, and what batches look like. */
  readonly kind: "causal-lm" | "masked-lm" | "seq2seq-lm";
  readonly config: Readonly<Record<string, unknown>>;
}

export const shapes = {
  "llama-135m": {
    summary: "Llama, 135M parameters (SmolLM2's shape)",
    kind: "causal-lm",
    config: {
      ...{ model_type: "llama", vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30 },
      ...{ num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 8192, rms_norm_eps: 1e-5, tie_word_embeddings: true },
    },
  },
  "gpt2-124m": {
    summary: "GPT-2, 124M parameters",
    kind: "causal-lm",
    config: {
      ...{ model_type: "gpt2", vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 },
      ...{ attn_pdrop: 0, embd_pdrop: 0, resid_pdrop: 0 },
    },
  },
  "bert-base": {
    summary: "BERT-base, 110M parameters, masked LM",
    kind: "masked-lm",
    config: {
      ...{ model_type: "bert", vocab_size: 30522, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12 },
      ...{
        intermediate_size: 3072,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        hidden_dropout_prob: 0,
        attention_probs_dropout_prob: 0,
      },
    },
  },
  "t5-small": {
    summary: "T5-small, 60M parameters",
    kind: "seq2seq-lm",
    config: {
      ...{ model_type: "t5", vocab_size: 32128, d_model: 512, d_kv: 64, d_ff: 2048, num_layers: 6, num_decoder_layers: 6, num_heads: 8 },
      ...{ relative_attention_num_buckets: 32, dropout_rate: 0, decoder_start_token_id: 0, pad_token_id: 0, feed_forward_proj: "relu" },
    },
  },
  "qwen3-moe-300m": {
    summary: "Qwen3 mixture of experts, 300M parameters, of which a token uses 80M",
    kind: "causal-lm",
    config: {
      ...{ model_type: "qwen3_moe", vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 12 },
      ...{ num_attention_heads: 9, num_key_value_heads: 3, head_dim: 64, max_position_embeddings: 8192, tie_word_embeddings: true },
      ...{ num_experts: 32, num_experts_per_tok: 4, moe_intermediate_size: 384, norm_topk_prob: true, mlp_only_layers: [] },
    },
  },
} as const satisfies Readonly<Record<string, BenchShape>>;

export type ShapeName = keyof typeof shapes;
