#include "host/parameters_pack.h"

#include "kernels/bf16.h"
#include "kernels/linear/linear_pack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { OUTLIERS = 4, CHUNK = 4096, BLOB_NAME = 160 };

/* ---- Reading tensors as f32 ---- */

static const struct tensor_view *find(const struct packer *p, const char *name, const char **file, const struct safetensors **from)
{
    int index = 0, used = 0;
    *file     = p->file;
    *from     = p->tensors;
    if (sscanf(name, "dense.%d.%n", &index, &used) == 1 && used && index >= 0 && index < 4) {
        *file = p->dense_file[index];
        *from = p->dense[index];
        name += used;
    }
    return *from ? safetensors_find(*from, name) : NULL;
}

/* `width` 0: a vector of `rows`. */
static status find_shaped(const struct packer *p, const char *name, int rows, int width, const struct tensor_view **tensor,
                          const struct safetensors **from, struct error *error)
{
    const char               *file;
    const struct tensor_view *t = find(p, name, &file, from);
    if (!t)
        return error_set(error, STATUS_MODEL, "%s: no tensor '%s'", file, name);
    bool fits = width ? t->rank == 2 && t->shape[0] == rows && t->shape[1] == width : t->rank == 1 && t->shape[0] == rows;
    if (!fits) {
        char shape[96] = "";
        for (int i = 0, at = 0; i < t->rank && at < 80; i++)
            at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
        char wanted[48];
        snprintf(wanted, sizeof wanted, width ? "%d, %d" : "%d", rows, width);
        return error_set(error, STATUS_MODEL, "%s: tensor '%s' is [%s] %s, expected [%s]", t->file, name, shape,
                         dtype_name(t->dtype), wanted);
    }
    if (t->dtype != DTYPE_F32 && t->dtype != DTYPE_F16 && t->dtype != DTYPE_BF16)
        return error_set(error, STATUS_MODEL, "%s: tensor '%s' is %s, expected F32, F16 or BF16", t->file, name,
                         dtype_name(t->dtype));
    *tensor = t;
    return STATUS_OK;
}

static float f16_to_float(uint16_t x)
{
    int   exponent = x >> 10 & 31, mantissa = x & 1023;
    float value    = exponent == 31 ? (mantissa ? NAN : INFINITY)
                     : exponent     ? ldexpf((float)(mantissa + 1024), exponent - 25)
                                    : ldexpf((float)mantissa, -24);
    return x & 0x8000 ? -value : value;
}

/* Elements [first, first + count) as f32; an element that is no number is an error with its place in the file. */
static status read_floats(const struct tensor_view *t, size_t first, size_t count, float *out, struct error *error)
{
    const char *data = t->data;
    if (t->dtype == DTYPE_F32) {
        memcpy(out, data + 4 * first, 4 * count);
    } else {
        for (size_t i = 0; i < count; i++) {
            uint16_t half;
            memcpy(&half, data + 2 * (first + i), 2);
            out[i] = t->dtype == DTYPE_BF16 ? bf16_to_float(half) : f16_to_float(half);
        }
    }
    for (size_t i = 0; i < count; i++)
        if (!isfinite(out[i]))
            return error_set(error, STATUS_MODEL, "%s: tensor '%s' holds %s at element %zu (byte %llu of the file)", t->file,
                             t->name, isnan(out[i]) ? "a NaN" : "an infinity", first + i,
                             (unsigned long long)(t->file_offset + (first + i) * (size_t)dtype_bits(t->dtype) / 8));
    return STATUS_OK;
}

static status report_progress(struct packer *p, uint64_t bytes, struct error *error)
{
    p->done += bytes;
    if (p->progress && p->progress(p->progress_user, "packing weights", p->done, p->total))
        return error_set(error, STATUS_CANCELLED, "cancelled while weights were packed");
    return STATUS_OK;
}

/* ---- Packing ---- */

status packer_open(struct packer *packer, size_t vectors_room, struct error *error)
{
    void  *block;
    status result = pool_alloc(packer->pool, MEMORY_LOAD, vectors_room * sizeof(float), "the vectors of a model", &block,
                               error);
    packer->vectors      = result == STATUS_OK ? block : NULL;
    packer->vectors_room = vectors_room;
    return result;
}

void packer_close(struct packer *packer) { pool_free(packer->pool, packer->vectors); }

static bool packer_has(void *user, const char *name)
{
    const char               *file;
    const struct safetensors *from;
    return find(user, name, &file, &from) != NULL;
}

static status packer_vector(void *user, const char *name, int length, const float **data, struct error *error)
{
    struct packer            *p = user;
    const struct tensor_view *t;
    const struct safetensors *from;
    status                    result = find_shaped(p, name, length, 0, &t, &from, error);
    if (result != STATUS_OK)
        return result;
    if (p->vectors_used + (size_t)length > p->vectors_room)
        return error_set(error, STATUS_INTERNAL, "packer: no room for vector '%s'", name);
    float *out = p->vectors + p->vectors_used;
    p->vectors_used += (size_t)length;
    result = read_floats(t, 0, (size_t)length, out, error);
    if (result == STATUS_OK)
        result = pack_writer_add(p->writer, name, out, sizeof(float) * (size_t)length, error);
    *data = out;
    return result;
}

static status packer_table(void *user, const char *name, int rows, int width, enum dtype type, const void **data,
                           struct error *error)
{
    struct packer            *p = user;
    const struct tensor_view *t;
    const struct safetensors *from;
    *data         = NULL;  /* nothing is computed while packing */
    status result = find_shaped(p, name, rows, width, &t, &from, error);
    if (result == STATUS_OK)
        result = pack_writer_begin(p->writer, name, error);
    size_t count = (size_t)rows * (size_t)width;
    for (size_t at = 0; at < count && result == STATUS_OK; at += CHUNK) {
        float    values[CHUNK];
        uint16_t rounded[CHUNK];
        size_t   some = count - at < CHUNK ? count - at : CHUNK;
        result        = read_floats(t, at, some, values, error);
        for (size_t i = 0; type == DTYPE_BF16 && i < some; i++)
            rounded[i] = bf16_from_float(values[i]);
        if (result == STATUS_OK)
            result = type == DTYPE_BF16 ? pack_writer_append(p->writer, rounded, 2 * some, error)
                                        : pack_writer_append(p->writer, values, 4 * some, error);
        if ((at / CHUNK) % 256 == 255)  /* a big table leaves the resident set as it is read */
            safetensors_drop(from, t->data, t->bytes);
    }
    safetensors_drop(from, result == STATUS_OK ? t->data : NULL, result == STATUS_OK ? t->bytes : 0);
    return result == STATUS_OK ? report_progress(p, t->bytes, error) : result;
}

/* Everything one linear needs while it is packed. */
struct linear_work {
    const struct linear_parameter *parameter;
    const struct tensor_view      *tensors[LINEAR_PARTS];
    const struct safetensors      *from[LINEAR_PARTS];
    int                            n, padded;
    int                            outliers;
    int32_t                        columns[LINEAR_MAX_OUTLIERS];
    void                          *block;
    float                         *rows;     /* [LINEAR_PANEL][k] */
    void                          *panel;
    float                         *bias, *scales, *keep, *outlier_weights;
    int32_t                       *sums;
};

static status begin_linear(struct packer *p, const struct linear_parameter *parameter, struct linear_work *w, struct error *error)
{
    *w = (struct linear_work){ .parameter = parameter, .n = parameter->parts * parameter->n };
    if (parameter->k % 4)
        return error_set(error, STATUS_MODEL, "%s: '%s' has inputs of width %d, expected a multiple of 4", p->file, parameter->name,
                         parameter->k);
    w->padded     = linear_padded(w->n);
    status result = STATUS_OK;
    for (int i = 0; i < parameter->parts && result == STATUS_OK; i++)
        result = find_shaped(p, parameter->weights[i], parameter->n, parameter->k, &w->tensors[i], &w->from[i], error);
    size_t k = (size_t)parameter->k, padded = (size_t)w->padded;
    size_t panel  = LINEAR_PANEL * (p->weight_stride ? p->weight_stride(DTYPE_F32, parameter->k) / sizeof(float) : k);
    size_t floats = panel + LINEAR_PANEL * k + k + padded * (3 + LINEAR_MAX_OUTLIERS);
    if (result == STATUS_OK)
        result = pool_alloc(p->pool, MEMORY_LOAD, floats * sizeof(float), "the packing of a linear layer", &w->block, error);
    if (result != STATUS_OK)
        return result;
    memset(w->block, 0, floats * sizeof(float));
    w->panel           = w->block;
    w->rows            = (float *)w->block + panel;
    w->keep            = w->rows + LINEAR_PANEL * k;
    w->bias            = w->keep + k;
    w->scales          = w->bias + padded;
    w->sums            = (int32_t *)(w->scales + padded);
    w->outlier_weights = w->scales + 2 * padded;
    if (parameter->type == DTYPE_I8 && parameter->scores) {
        w->outliers = OUTLIERS < parameter->k ? OUTLIERS : 0;
        linear_pack_choose(parameter->scores, parameter->k, w->outliers, w->columns);
    }
    for (size_t i = 0; i < k; i++)
        w->keep[i] = 1.0f;
    for (int i = 0; i < w->outliers; i++)
        w->keep[w->columns[i]] = 0.0f;
    return STATUS_OK;
}

static status read_row(const struct linear_work *w, int row, float *out, struct error *error)
{
    size_t k = (size_t)w->parameter->k;
    return read_floats(w->tensors[row / w->parameter->n], (size_t)(row % w->parameter->n) * k, k, out, error);
}

/* One row as an accelerator reads it; returns its scale, which DTYPE_F8_E4M3 alone has. */
static float convert_row(enum dtype type, const float *row, size_t k, void *out)
{
    if (type == DTYPE_F8_E4M3)
        return linear_pack_e4m3(row, (int)k, out);
    if (type == DTYPE_BF16)
        for (size_t i = 0; i < k; i++)
            ((uint16_t *)out)[i] = bf16_from_float(row[i]);
    else
        memcpy(out, row, k * sizeof *row);
    return 1.0f;
}

/* One panel's worth of rows from output `first` on, each as long as the accelerator's stride, the tail zero. */
static status append_rows(struct packer *p, const struct linear_work *w, int first, struct error *error)
{
    const struct linear_parameter *parameter = w->parameter;
    const size_t                   k = (size_t)parameter->k, stride = p->weight_stride(parameter->type, parameter->k);
    char                          *out = w->panel;
    memset(out, 0, LINEAR_PANEL * stride);
    for (size_t row = 0; row < LINEAR_PANEL; row++, out += stride)
        w->scales[(size_t)first + row] = convert_row(parameter->type, w->rows + row * k, k, out);
    return pack_writer_append(p->writer, w->panel, LINEAR_PANEL * stride, error);
}

static status pack_panels(struct packer *p, struct linear_work *w, struct error *error)
{
    const struct linear_parameter *parameter = w->parameter;
    struct linear_pack_args args = { parameter->type, parameter->k, w->rows, w->outliers, w->columns };
    char                    name[BLOB_NAME];
    snprintf(name, sizeof name, "%s.panels", parameter->name);
    status result = pack_writer_begin(p->writer, name, error);
    for (int first = 0; first < w->n && result == STATUS_OK; first += LINEAR_PANEL) {
        struct linear_pack_result packed = { .panel = w->panel };
        for (int i = 0; i < LINEAR_PANEL && result == STATUS_OK; i++) {
            float *row = w->rows + (size_t)i * (size_t)parameter->k;
            if (first + i < w->n)
                result = read_row(w, first + i, row, error);
            else
                memset(row, 0, sizeof(float) * (size_t)parameter->k);
        }
        if (result != STATUS_OK)
            break;
        if (p->weight_stride) {
            result = append_rows(p, w, first, error);
            continue;
        }
        linear_pack_panel(&args, &packed);
        memcpy(w->scales + first, packed.scales, sizeof packed.scales);
        memcpy(w->sums + first, packed.sums, sizeof packed.sums);
        for (int i = 0; i < w->outliers; i++)
            memcpy(w->outlier_weights + (size_t)i * (size_t)w->padded + first, packed.outlier_weights[i],
                   sizeof packed.outlier_weights[i]);
        result = pack_writer_append(p->writer, w->panel, linear_panel_bytes(parameter->type, parameter->k), error);
    }
    return result;
}

static status add_blob(struct packer *p, const struct linear_work *w, const char *what, const void *data, size_t bytes,
                       struct error *error)
{
    char name[BLOB_NAME];
    snprintf(name, sizeof name, "%s.%s", w->parameter->name, what);
    return pack_writer_add(p->writer, name, data, bytes, error);
}

static status pack_biases(struct packer *p, struct linear_work *w, struct error *error)
{
    const struct linear_parameter *parameter = w->parameter;
    status                         result    = STATUS_OK;
    for (int i = 0; i < parameter->parts && result == STATUS_OK; i++) {
        const struct tensor_view *t;
        const struct safetensors *from;
        if (!parameter->biases[i])
            continue;
        result = find_shaped(p, parameter->biases[i], parameter->n, 0, &t, &from, error);
        if (result == STATUS_OK)
            result = read_floats(t, 0, (size_t)parameter->n, w->bias + i * parameter->n, error);
    }
    return result == STATUS_OK ? add_blob(p, w, "bias", w->bias, sizeof(float) * (size_t)w->padded, error) : result;
}

static status pack_int8_parts(struct packer *p, struct linear_work *w, struct error *error)
{
    size_t padded = (size_t)w->padded;
    status result = add_blob(p, w, "scales", w->scales, 4 * padded, error);
    if (result == STATUS_OK)
        result = add_blob(p, w, "sums", w->sums, 4 * padded, error);
    if (result == STATUS_OK)
        result = add_blob(p, w, "keep", w->keep, 4 * (size_t)w->parameter->k, error);
    if (result == STATUS_OK)
        result = add_blob(p, w, "outlier_columns", w->columns, 4 * (size_t)w->outliers, error);
    if (result == STATUS_OK)
        result = add_blob(p, w, "outlier_weights", w->outlier_weights, 4 * (size_t)w->outliers * padded, error);
    return result;
}

static status packer_linear(void *user, const struct linear_parameter *parameter, struct linear_weight *weight, struct error *error)
{
    struct packer     *p = user;
    struct linear_work w;
    (void)weight;  /* nothing is computed while packing */
    status   result = begin_linear(p, parameter, &w, error);
    uint64_t bytes  = 0;
    if (result == STATUS_OK)
        result = pack_panels(p, &w, error);
    if (result == STATUS_OK)
        result = pack_biases(p, &w, error);
    if (result == STATUS_OK && parameter->type == DTYPE_I8)
        result = pack_int8_parts(p, &w, error);
    if (result == STATUS_OK && parameter->type == DTYPE_F8_E4M3)
        result = add_blob(p, &w, "scales", w.scales, sizeof(float) * (size_t)w.padded, error);
    for (int i = 0; i < parameter->parts && result == STATUS_OK; i++) {
        safetensors_drop(w.from[i], w.tensors[i]->data, w.tensors[i]->bytes);
        bytes += w.tensors[i]->bytes;
    }
    pool_free(p->pool, w.block);
    return result == STATUS_OK ? report_progress(p, bytes, error) : result;
}

/* ---- What the choice of outliers needs to know ---- */

/* Calls `see` with each row of a linear as f32. */
static status each_row(struct packer *p, const struct linear_parameter *parameter,
                       void (*see)(void *user, int row, const float *values), void *user, struct error *error)
{
    struct linear_work w;
    status             result = begin_linear(p, &(struct linear_parameter){ .name = parameter->name, .parts = parameter->parts,
                                                                            .weights = { parameter->weights[0] }, .n = parameter->n,
                                                                            .k = parameter->k }, &w, error);
    for (int row = 0; row < w.n && result == STATUS_OK; row++) {
        result = read_row(&w, row, w.rows, error);
        if (result == STATUS_OK)
            see(user, row, w.rows);
    }
    if (result == STATUS_OK)
        for (int i = 0; i < parameter->parts; i++)
            safetensors_drop(w.from[i], w.tensors[i]->data, w.tensors[i]->bytes);
    pool_free(p->pool, w.block);
    return result;
}

struct spreading {
    int          k;
    const float *energy;
    float       *out;
};

static void spread_row(void *user, int row, const float *values)
{
    struct spreading *s   = user;
    float             sum = 0.0f;
    for (int i = 0; i < s->k; i++)
        sum += values[i] * values[i] * s->energy[i];
    s->out[row] = sum;
}

static status packer_spread(void *user, const struct linear_parameter *parameter, const float *energy, float *out,
                            struct error *error)
{
    struct packer            *p = user;
    struct spreading          s = { parameter->k, energy, out };
    const struct tensor_view *t;
    const struct safetensors *from;
    status                    result = each_row(p, parameter, spread_row, &s, error);
    if (result == STATUS_OK)
        result = find_shaped(p, parameter->biases[0], parameter->n, 0, &t, &from, error);
    for (int i = 0; i < parameter->n && result == STATUS_OK; i++) {
        float bias;
        result = read_floats(t, (size_t)i, 1, &bias, error);
        out[i] += bias * bias;
    }
    return result;
}

static status packer_column_energy(void *user, const char *name, int rows, int width, float *out, struct error *error)
{
    struct packer            *p = user;
    const struct tensor_view *t;
    const struct safetensors *from;
    void                     *block  = NULL;
    status                    result = find_shaped(p, name, rows, width, &t, &from, error);
    if (result == STATUS_OK)
        result = pool_alloc(p->pool, MEMORY_LOAD, sizeof(float) * (size_t)width, "a row of embeddings", &block, error);
    for (int i = 0; i < width; i++)
        out[i] = 0.0f;
    for (int row = 0; row < rows && result == STATUS_OK; row++) {
        const float *values = block;
        result              = read_floats(t, (size_t)row * (size_t)width, (size_t)width, block, error);
        for (int i = 0; i < width && result == STATUS_OK; i++)
            out[i] += values[i] * values[i] / (float)rows;
        if (row % 4096 == 4095)
            safetensors_drop(from, t->data, t->bytes);
    }
    pool_free(p->pool, block);
    return result;
}

struct peaks {
    int    k;
    float *out, *sums, *squares;
};

static void see_peaks(void *user, int row, const float *values)
{
    struct peaks *peaks = user;
    (void)row;
    for (int i = 0; i < peaks->k; i++) {
        float magnitude = fabsf(values[i]);
        peaks->out[i]   = magnitude > peaks->out[i] ? magnitude : peaks->out[i];
        peaks->sums[i] += values[i];
        peaks->squares[i] += values[i] * values[i];
    }
}

static status packer_column_peaks(void *user, const struct linear_parameter *parameter, float *out, struct error *error)
{
    struct packer *p = user;
    void          *block;
    size_t         k      = (size_t)parameter->k;
    status         result = pool_alloc(p->pool, MEMORY_LOAD, 2 * k * sizeof(float), "the columns of a linear layer", &block, error);
    if (result != STATUS_OK)
        return result;
    struct peaks peaks = { parameter->k, out, block, (float *)block + k };
    memset(block, 0, 2 * k * sizeof(float));
    memset(out, 0, k * sizeof(float));
    result = each_row(p, parameter, see_peaks, &peaks, error);
    for (size_t i = 0; i < k && result == STATUS_OK; i++) {
        float mean     = peaks.sums[i] / (float)parameter->n;
        float variance = peaks.squares[i] / (float)parameter->n - mean * mean;
        out[i]         = variance > 0.0f ? out[i] / sqrtf(variance) : 0.0f;
    }
    pool_free(p->pool, block);
    return result;
}

struct parameter_source packer_source(struct packer *packer)
{
    return (struct parameter_source){ .user = packer, .packing = true, .vector = packer_vector, .table = packer_table,
                                      .linear = packer_linear, .has = packer_has, .spread = packer_spread,
                                      .column_energy = packer_column_energy, .column_peaks = packer_column_peaks };
}

/* ---- Binding ---- */

static status bind_blob(const struct pack_places *p, const char *name, size_t bytes, const void **data, struct error *error)
{
    const struct pack_blob *blob = pack_find(p->pack, name);
    if (!blob || blob->bytes != bytes)
        return error_set(error, STATUS_INTERNAL, "pack: '%s' has %llu bytes, expected %zu", name,
                         blob ? (unsigned long long)blob->bytes : 0, bytes);
    *data = p->places ? p->places[blob - pack_at(p->pack, 0)] : blob->data;
    return STATUS_OK;
}

static status bind_vector(void *user, const char *name, int length, const float **data, struct error *error)
{
    const void *found  = NULL;
    status      result = bind_blob(user, name, sizeof(float) * (size_t)length, &found, error);
    *data              = found;
    return result;
}

static status bind_table(void *user, const char *name, int rows, int width, enum dtype type, const void **data,
                         struct error *error)
{
    return bind_blob(user, name, (size_t)rows * (size_t)width * (size_t)dtype_bits(type) / 8, data, error);
}

static status bind_part(const struct pack_places *p, const struct linear_parameter *parameter, const char *what, size_t bytes,
                        const void **data, struct error *error)
{
    char name[BLOB_NAME];
    snprintf(name, sizeof name, "%s.%s", parameter->name, what);
    return bind_blob(p, name, bytes, data, error);
}

static status bind_int8_parts(const struct pack_places *p, const struct linear_parameter *parameter, struct linear_weight *w,
                              struct error *error)
{
    char name[BLOB_NAME];
    snprintf(name, sizeof name, "%s.outlier_columns", parameter->name);
    const struct pack_blob *columns = pack_find(p->pack, name);
    const void *scales = NULL, *sums = NULL, *keep = NULL, *weights = NULL;
    size_t      padded = (size_t)linear_padded(w->n);
    if (!columns || columns->bytes / 4 > LINEAR_MAX_OUTLIERS)
        return error_set(error, STATUS_INTERNAL, "pack: '%s' is missing or too long", name);
    w->outliers        = (int)(columns->bytes / 4);
    w->outlier_columns = columns->data;
    status result      = bind_part(p, parameter, "scales", 4 * padded, &scales, error);
    if (result == STATUS_OK)
        result = bind_part(p, parameter, "sums", 4 * padded, &sums, error);
    if (result == STATUS_OK)
        result = bind_part(p, parameter, "keep", 4 * (size_t)w->k, &keep, error);
    if (result == STATUS_OK)
        result = bind_part(p, parameter, "outlier_weights", 4 * padded * (size_t)w->outliers, &weights, error);
    w->scales          = scales;
    w->sums            = sums;
    w->keep            = keep;
    w->outlier_weights = weights;
    return result;
}

static status bind_linear(void *user, const struct linear_parameter *parameter, struct linear_weight *weight, struct error *error)
{
    const struct pack_places *p    = user;
    const void               *bias = NULL, *scales = NULL;
    *weight            = (struct linear_weight){ .n = parameter->parts * parameter->n, .k = parameter->k, .type = parameter->type };
    size_t bytes       = p->weight_stride ? p->weight_stride(weight->type, weight->k) * (size_t)linear_padded(weight->n)
                                          : linear_weight_bytes(weight->type, weight->n, weight->k);
    status result      = bind_part(p, parameter, "panels", bytes, &weight->panels, error);
    if (result == STATUS_OK)
        result = bind_part(p, parameter, "bias", sizeof(float) * (size_t)linear_padded(weight->n), &bias, error);
    if (result == STATUS_OK && weight->type == DTYPE_F8_E4M3)
        result = bind_part(p, parameter, "scales", sizeof(float) * (size_t)linear_padded(weight->n), &scales, error);
    weight->bias   = bias;
    weight->scales = scales;
    if (result == STATUS_OK && weight->type == DTYPE_I8)
        result = bind_int8_parts(p, parameter, weight, error);
    return result;
}

static bool bind_has(void *user, const char *name)
{
    const struct pack_places *p = user;
    return pack_find(p->pack, name) != NULL;
}

struct parameter_source pack_source(const struct pack_places *places)
{
    return (struct parameter_source){ .user = (void *)(uintptr_t)places, .vector = bind_vector, .table = bind_table,
                                      .linear = bind_linear, .has = bind_has };
}
