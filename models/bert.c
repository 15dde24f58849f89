#include "models/bert.h"

plan_value bert_trace(struct plan *plan, const struct bert_config *config, const struct bert_weights *weights)
{
    const struct attention_shape shape = { config->heads, config->heads, config->width / config->heads, false };

    plan_label(plan, "%s", "");
    plan_value x = op_norm(plan, op_embed(plan, &weights->embed), &weights->embed_norm);            /* [tokens, width] */
    for (int i = 0; i < config->layers; i++) {
        const struct bert_layer *layer = &weights->layers[i];
        plan_label(plan, "layer %d", i);
        plan_value qkv = op_linear(plan, x, &layer->qkv, LINEAR_NONE);                              /* [tokens, 3 * width] */
        plan_value mix = op_attention(plan, qkv, &shape);                                           /* [tokens, width] */
        x         = op_linear_add_norm(plan, mix, &layer->out, x, &layer->attention_norm);     /* [tokens, width] */
        plan_value up  = op_linear(plan, x, &layer->up, config->act);                               /* [tokens, inner] */
        x         = op_linear_add_norm(plan, up, &layer->down, x, &layer->output_norm);        /* [tokens, width] */
    }
    plan_label(plan, "%s", "");
    plan_value y = op_pool(plan, x, config->pooling);                                               /* [sequences, width] */
    for (int i = 0; i < config->dense_count; i++)
        y = op_linear(plan, y, &weights->dense[i], config->dense[i].act);                      /* [sequences, out] */
    return config->normalize ? op_normalize(plan, y) : y;
}
