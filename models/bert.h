/* bert.h: the BERT family: word, position and type embeddings, encoder layers with the norm after each residual, pooling.
 *
 *   x = norm(words[id] + positions[i] + types[0])
 *   each layer:  x = norm(x + out(attention(qkv(x))));  x = norm(x + down(gelu(up(x))))
 *   then pooling over each text, dense layers where the model has them, and length one
 */
#ifndef RECTO_MODELS_BERT_H
#define RECTO_MODELS_BERT_H

#include "models/parameters.h"

enum { BERT_DENSE_MAX = 4 };

struct bert_dense {
    int             in, out;
    bool            bias;
    enum linear_act act;  /* LINEAR_NONE, or tanh: LINEAR_TANH */
};

struct bert_config {
    int               layers, width, heads, inner;
    int               vocabulary, positions, token_types;
    float             norm_epsilon;
    enum linear_act   act;
    enum pool_kind    pooling;
    bool              normalize;
    int               dense_count;
    struct bert_dense dense[BERT_DENSE_MAX];
    enum dtype        precision;  /* of the linears: DTYPE_F32, DTYPE_BF16, DTYPE_I8 or DTYPE_F8_E4M3 */
};

struct bert_layer {
    struct linear_weight qkv, out, up, down;
    struct norm_weight   attention_norm, output_norm;
};

struct bert_weights {
    struct embed_weight  embed;
    struct norm_weight   embed_norm;
    struct linear_weight dense[BERT_DENSE_MAX];
    struct bert_layer   *layers;  /* [layers], the caller's memory */
};

/* Asks the source for every parameter. `scratch` is bert_scratch_floats numbers, needed while packing DTYPE_I8 alone. */
MUST_CHECK status bert_load(const struct bert_config *config, const struct parameter_source *source, float *scratch,
                            struct bert_weights *weights, struct error *error);
size_t bert_scratch_floats(const struct bert_config *config);

/* Records the forward pass; the result is [sequences, dimensions]. */
plan_value bert_trace(struct plan *plan, const struct bert_config *config, const struct bert_weights *weights);

#endif
