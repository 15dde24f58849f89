/* bert_load.c: the names of BERT's parameters, and how large their inputs are.
 *
 * For int8 a few inputs of each linear stay in f32: those that grow far beyond the others. Which ones can be told from the
 * weights alone: mean squares are carried from layer to layer as if inputs were independent (`energy`), and the norm's own
 * weights then decide. The inputs of `down` come out of a nonlinearity and are judged by the peaks of its columns: neurons
 * that write the residual's few giant features have weights many standard deviations wide.
 */
#include "models/bert.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 128 };

struct loading {
    const struct bert_config      *config;
    const struct parameter_source *source;
    struct error                  *error;
    char                           prefix[16];
    const char                    *norm_weight, *norm_bias;  /* "weight" and "bias", or "gamma" and "beta" */
    float                         *energy;   /* [width] of x, the running value */
    float                         *middle;   /* [inner] */
    float                         *other;    /* [max(width, inner)] */
};

/* What is added to the residual is weaker than independence says: its inputs are correlated. Any factor from 0.1 to 1 finds
 * nearly the same columns. */
static const float attention_share = 0.3f, inner_share = 0.35f;

size_t bert_scratch_floats(const struct bert_config *config)
{
    return 2 * (size_t)config->width + 2 * (size_t)config->inner;
}

static bool picks_outliers(const struct loading *l) { return l->source->packing && l->config->precision == DTYPE_I8; }

/* The tensors' common prefix and the names of the norms' parameters differ from exporter to exporter. */
static status find_names(struct loading *l)
{
    static const char *const prefixes[] = { "", "bert.", "roberta.", "xlm-roberta.", "camembert.", "model." };
    char                     name[NAME_BYTES];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefixes[i]);
        if (!l->source->has(l->source->user, name))
            continue;
        snprintf(l->prefix, sizeof l->prefix, "%s", prefixes[i]);
        snprintf(name, sizeof name, "%sembeddings.LayerNorm.gamma", prefixes[i]);
        if (l->source->has(l->source->user, name)) {
            l->norm_weight = "gamma";
            l->norm_bias   = "beta";
        }
        return STATUS_OK;
    }
    const struct bert_config *c = l->config;
    const void               *none;  /* asked for all the same: the source knows the file in which it is missing */
    return l->source->table(l->source->user, "embeddings.word_embeddings.weight", c->vocabulary, c->width, DTYPE_F32, &none,
                            l->error);
}

static status load_norm(struct loading *l, const char *where, struct norm_weight *norm)
{
    char name[NAME_BYTES];
    *norm = (struct norm_weight){ .kind = NORM_LAYER, .width = l->config->width, .epsilon = l->config->norm_epsilon };
    snprintf(name, sizeof name, "%s%s.%s", l->prefix, where, l->norm_weight);
    status result = l->source->vector(l->source->user, name, norm->width, &norm->weight, l->error);
    snprintf(name, sizeof name, "%s%s.%s", l->prefix, where, l->norm_bias);
    return result != STATUS_OK ? result : l->source->vector(l->source->user, name, norm->width, &norm->bias, l->error);
}

/* energy := what the norm makes of it */
static void normalize_energy(struct loading *l, const struct norm_weight *norm)
{
    float sum = 0.0f;
    for (int i = 0; i < norm->width; i++)
        sum += l->energy[i];
    float inverse = sum > 0.0f ? (float)norm->width / sum : 0.0f;
    for (int i = 0; i < norm->width; i++)
        l->energy[i] = l->energy[i] * inverse * norm->weight[i] * norm->weight[i] + norm->bias[i] * norm->bias[i];
}

static status load_embeddings(struct loading *l, struct bert_weights *w)
{
    const struct bert_config *c    = l->config;
    const enum dtype          type = c->precision == DTYPE_F32 ? DTYPE_F32 : DTYPE_BF16;
    char                      name[NAME_BYTES];
    w->embed = (struct embed_weight){ .width = c->width, .type = type };
    snprintf(name, sizeof name, "%sembeddings.position_embeddings.weight", l->prefix);
    status result = l->source->table(l->source->user, name, c->positions, c->width, type, &w->embed.positions, l->error);
    snprintf(name, sizeof name, "%sembeddings.token_type_embeddings.weight", l->prefix);
    if (result == STATUS_OK)
        result = l->source->table(l->source->user, name, c->token_types, c->width, type, &w->embed.types, l->error);
    snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", l->prefix);
    if (result == STATUS_OK)
        result = l->source->table(l->source->user, name, c->vocabulary, c->width, type, &w->embed.words, l->error);
    if (result == STATUS_OK && picks_outliers(l))
        result = l->source->column_energy(l->source->user, name, c->vocabulary, c->width, l->energy, l->error);
    if (result == STATUS_OK)
        result = load_norm(l, "embeddings.LayerNorm", &w->embed_norm);
    if (result == STATUS_OK && picks_outliers(l))
        normalize_energy(l, &w->embed_norm);
    return result;
}

/* The names of one linear's tensors. */
struct names {
    char name[32];
    char weights[LINEAR_PARTS][NAME_BYTES], biases[LINEAR_PARTS][NAME_BYTES];
};

static struct linear_parameter describe(const struct loading *l, struct names *names, int layer, const char *short_name,
                                        const char *const *tensors, int parts, int n, int k)
{
    struct linear_parameter p = { .name = names->name, .parts = parts, .n = n, .k = k, .type = l->config->precision };
    snprintf(names->name, sizeof names->name, "layer.%d.%s", layer, short_name);
    for (int i = 0; i < parts; i++) {
        snprintf(names->weights[i], NAME_BYTES, "%sencoder.layer.%d.%s.weight", l->prefix, layer, tensors[i]);
        snprintf(names->biases[i], NAME_BYTES, "%sencoder.layer.%d.%s.bias", l->prefix, layer, tensors[i]);
        p.weights[i] = names->weights[i];
        p.biases[i]  = names->biases[i];
    }
    return p;
}

static status load_linear(struct loading *l, const struct linear_parameter *p, struct linear_weight *w)
{
    return l->source->linear(l->source->user, p, w, l->error);
}

/* energy := of the norm after the attention: the value projection, then the output projection, into the residual */
static status carry_attention(struct loading *l, const struct linear_parameter *qkv, const struct linear_parameter *out,
                              const struct norm_weight *norm)
{
    struct linear_parameter values = *qkv;
    values.parts                   = 1;
    values.weights[0]              = qkv->weights[2];
    values.biases[0]               = qkv->biases[2];
    status result = l->source->spread(l->source->user, &values, l->energy, l->other, l->error);
    if (result == STATUS_OK)
        result = l->source->spread(l->source->user, out, l->other, l->middle, l->error);
    for (int i = 0; result == STATUS_OK && i < l->config->width; i++)
        l->energy[i] += attention_share * l->middle[i];
    if (result == STATUS_OK)
        normalize_energy(l, norm);
    return result;
}

static status carry_inner(struct loading *l, const struct linear_parameter *up, const struct linear_parameter *down,
                          const struct norm_weight *norm)
{
    status result = l->source->spread(l->source->user, up, l->energy, l->middle, l->error);
    if (result == STATUS_OK)
        result = l->source->spread(l->source->user, down, l->middle, l->other, l->error);
    for (int i = 0; result == STATUS_OK && i < l->config->width; i++)
        l->energy[i] += inner_share * l->other[i];
    if (result == STATUS_OK)
        normalize_energy(l, norm);
    return result;
}

static status load_attention(struct loading *l, int index, struct bert_layer *layer)
{
    static const char *const qkv_tensors[] = { "attention.self.query", "attention.self.key", "attention.self.value" };
    static const char *const out_tensors[] = { "attention.output.dense" };
    const int                width         = l->config->width;
    struct names             qkv_names, out_names;
    struct linear_parameter  qkv = describe(l, &qkv_names, index, "qkv", qkv_tensors, 3, width, width);
    struct linear_parameter  out = describe(l, &out_names, index, "out", out_tensors, 1, width, width);
    char                     norm[NAME_BYTES];
    snprintf(norm, sizeof norm, "encoder.layer.%d.attention.output.LayerNorm", index);
    if (picks_outliers(l))
        qkv.scores = l->energy;
    status result = load_linear(l, &qkv, &layer->qkv);
    if (result == STATUS_OK)
        result = load_linear(l, &out, &layer->out);
    if (result == STATUS_OK)
        result = load_norm(l, norm, &layer->attention_norm);
    if (result == STATUS_OK && picks_outliers(l))
        result = carry_attention(l, &qkv, &out, &layer->attention_norm);
    return result;
}

static status load_inner(struct loading *l, int index, struct bert_layer *layer)
{
    static const char *const up_tensors[] = { "intermediate.dense" }, *const down_tensors[] = { "output.dense" };
    const int                width = l->config->width, inner = l->config->inner;
    struct names             up_names, down_names;
    struct linear_parameter  up   = describe(l, &up_names, index, "up", up_tensors, 1, inner, width);
    struct linear_parameter  down = describe(l, &down_names, index, "down", down_tensors, 1, width, inner);
    char                     norm[NAME_BYTES];
    snprintf(norm, sizeof norm, "encoder.layer.%d.output.LayerNorm", index);
    status result = STATUS_OK;
    if (picks_outliers(l)) {
        up.scores   = l->energy;
        down.scores = l->other;
        result      = l->source->column_peaks(l->source->user, &down, l->other, l->error);
    }
    if (result == STATUS_OK)
        result = load_linear(l, &up, &layer->up);
    if (result == STATUS_OK)
        result = load_linear(l, &down, &layer->down);
    if (result == STATUS_OK)
        result = load_norm(l, norm, &layer->output_norm);
    if (result == STATUS_OK && picks_outliers(l))
        result = carry_inner(l, &up, &down, &layer->output_norm);
    return result;
}

static status load_dense(struct loading *l, struct bert_weights *w)
{
    for (int i = 0; i < l->config->dense_count; i++) {
        const struct bert_dense *dense = &l->config->dense[i];
        char                     name[32], weight[NAME_BYTES], bias[NAME_BYTES];
        snprintf(name, sizeof name, "dense.%d", i);
        snprintf(weight, sizeof weight, "dense.%d.linear.weight", i);
        snprintf(bias, sizeof bias, "dense.%d.linear.bias", i);
        struct linear_parameter p = { .name = name, .parts = 1, .n = dense->out, .k = dense->in, .type = DTYPE_F32 };
        p.weights[0]              = weight;
        p.biases[0]               = dense->bias ? bias : NULL;
        status result             = load_linear(l, &p, &w->dense[i]);
        if (result != STATUS_OK)
            return result;
    }
    return STATUS_OK;
}

status bert_load(const struct bert_config *config, const struct parameter_source *source, float *scratch,
                 struct bert_weights *weights, struct error *error)
{
    struct loading l = { .config = config, .source = source, .error = error, .norm_weight = "weight", .norm_bias = "bias" };
    if (scratch) {
        l.energy = scratch;
        l.middle = l.energy + config->width;
        l.other  = l.middle + config->inner;
    }
    status result = find_names(&l);
    if (result == STATUS_OK)
        result = load_embeddings(&l, weights);
    for (int i = 0; i < config->layers && result == STATUS_OK; i++) {
        result = load_attention(&l, i, &weights->layers[i]);
        if (result == STATUS_OK)
            result = load_inner(&l, i, &weights->layers[i]);
    }
    return result == STATUS_OK ? load_dense(&l, weights) : result;
}
