/* A library with the few functions that the benchmarks ask of cuBLASLt, on the memory of the emulated device, to see that they use
 * it as it wants to be used and that they find its fastest algorithm. Of its four the first is slow, and wrong so that it is known
 * when it was taken; the second cannot be had; the third refuses when it is asked; the fourth is fast. Its time is the host's: the
 * emulated device has to work at once. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRANSPOSED = 3, EPILOGUE = 7, BIAS = 8, A_SCALES = 17, B_SCALES = 18, BIAS_TYPE = 26, A_SCALING = 31, B_SCALING = 32 };
enum { F32 = 0, BF16 = 14, E4M3 = 28, OUTER_VECTORS = 3, WITH_BIAS = 4, WITH_GELU = 32, SETTINGS = 40 };
enum { SLOW, NOT_THERE, REFUSES, FAST, ALGORITHMS, SLOW_NANOSECONDS = 15000000 };

struct layout {
    int      type;
    uint64_t rows, columns;
    int64_t  stride;
};
struct desc {
    uint64_t settings[SETTINGS];
};
struct algorithm {
    uint64_t data[8];
};
struct heuristic {
    struct algorithm algorithm;
    size_t           workspace;
    int              state;
    float            waves;
    int              reserved[4];
};

static float value_of(const void *values, int type, size_t i)
{
    union { uint32_t u; float f; } bits;
    if (type == F32)
        return ((const float *)values)[i];
    if (type == BF16) {
        bits.u = (uint32_t)((const uint16_t *)values)[i] << 16;
        return bits.f;
    }
    const uint8_t code = ((const uint8_t *)values)[i];
    const int     exponent = code >> 3 & 15, fraction = code & 7;
    const float   size = exponent ? ldexpf((float)(8 + fraction), exponent - 10) : ldexpf((float)fraction, -9);
    return code & 128 ? -size : size;
}

static void put_value(void *values, int type, size_t i, float value)
{
    union { float f; uint32_t u; } bits = { .f = value };
    if (type == F32)
        ((float *)values)[i] = value;
    else
        ((uint16_t *)values)[i] = (uint16_t)((bits.u + 0x7fff + (bits.u >> 16 & 1)) >> 16);
}

static const void *pointer_of(const struct desc *desc, int name)
{
    return (const void *)(uintptr_t)desc->settings[name];
}

/* What follows the sum of output `row` of the column. */
static float finish(const struct desc *desc, float sum, uint64_t row, uint64_t column)
{
    const uint64_t epilogue = desc->settings[EPILOGUE];
    if (desc->settings[A_SCALING] == OUTER_VECTORS && desc->settings[B_SCALING] == OUTER_VECTORS)
        sum *= value_of(pointer_of(desc, A_SCALES), F32, row) * value_of(pointer_of(desc, B_SCALES), F32, column);
    if (epilogue & WITH_BIAS)
        sum += value_of(pointer_of(desc, BIAS), (int)desc->settings[BIAS_TYPE], row);
    if (epilogue & WITH_GELU)
        sum *= 0.5f + 0.5f * tanhf(0.79788456f * (sum + 0.044715f * sum * sum * sum));
    return sum;
}

static float *unpacked(const void *values, const struct layout *layout)
{
    const size_t count = (size_t)layout->rows * layout->columns;
    float       *copy  = malloc(count * sizeof *copy);
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = value_of(values, layout->type, i);
    return copy;
}

static int new_zeros(void **handle, size_t bytes)
{
    *handle = calloc(1, bytes);
    return *handle ? 0 : 3;
}

static int drop(void *handle)
{
    free(handle);
    return 0;
}

#pragma GCC visibility push(default)  /* these are looked up by name */
int cublasLtCreate(void **handle);
int cublasLtDestroy(void *handle);
int cublasLtMatmulDescCreate(void **desc, int compute, int scale);
int cublasLtMatmulDescDestroy(void *desc);
int cublasLtMatmulDescSetAttribute(void *desc, int name, const void *value, size_t bytes);
int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t stride);
int cublasLtMatrixLayoutDestroy(void *layout);
int cublasLtMatmulPreferenceCreate(void **preference);
int cublasLtMatmulPreferenceDestroy(void *preference);
int cublasLtMatmulPreferenceSetAttribute(void *preference, int name, const void *value, size_t bytes);
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference, int wanted,
                                   struct heuristic *found, int *count);
int cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout,
                   const void *beta, const void *c, void *c_layout, void *d, void *d_layout, const struct algorithm *algorithm,
                   void *workspace, size_t workspace_bytes, void *stream);
#pragma GCC visibility pop

int cublasLtCreate(void **handle) { return new_zeros(handle, 1); }
int cublasLtDestroy(void *handle) { return drop(handle); }
int cublasLtMatmulDescDestroy(void *desc) { return drop(desc); }
int cublasLtMatrixLayoutDestroy(void *layout) { return drop(layout); }
int cublasLtMatmulPreferenceCreate(void **preference) { return new_zeros(preference, 1); }
int cublasLtMatmulPreferenceDestroy(void *preference) { return drop(preference); }

int cublasLtMatmulDescCreate(void **desc, int compute, int scale)
{
    return compute == 68 && scale == F32 ? new_zeros(desc, sizeof(struct desc)) : 7;
}

int cublasLtMatmulDescSetAttribute(void *desc, int name, const void *value, size_t bytes)
{
    struct desc *d = desc;
    if (name < 0 || name >= SETTINGS || bytes > sizeof *d->settings)
        return 7;
    memcpy(&d->settings[name], value, bytes);
    return 0;
}

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t stride)
{
    const int status = new_zeros(layout, sizeof(struct layout));
    if (status == 0)
        *(struct layout *)*layout = (struct layout){ type, rows, columns, stride };
    return status;
}

int cublasLtMatmulPreferenceSetAttribute(void *preference, int name, const void *value, size_t bytes)
{
    return preference && name == 1 && value && bytes == sizeof(size_t) ? 0 : 7;
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference, int wanted,
                                   struct heuristic *found, int *count)
{
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)preference;
    *count = wanted < ALGORITHMS ? wanted : ALGORITHMS;
    for (int i = 0; i < *count; i++)
        found[i] = (struct heuristic){ .algorithm.data[0] = (uint64_t)i, .state = i == NOT_THERE ? 15 : 0 };
    return 0;
}

int cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout,
                   const void *beta, const void *c, void *c_layout, void *d, void *d_layout, const struct algorithm *algorithm,
                   void *workspace, size_t workspace_bytes, void *stream)
{
    const struct layout *la = a_layout, *lb = b_layout, *ld = d_layout;
    const float         *x = alpha, *y = beta;
    const uint64_t       which = algorithm->data[0], inner = la->rows;
    (void)handle, (void)workspace, (void)workspace_bytes, (void)stream;
    if (which == REFUSES || which == NOT_THERE || c_layout != d_layout || ((struct desc *)desc)->settings[TRANSPOSED] != 1 ||
        lb->rows != inner || ld->rows != la->columns || ld->columns != lb->columns)
        return 7;
    float *left = unpacked(a, la), *right = unpacked(b, lb);
    for (uint64_t column = 0; column < ld->columns && left && right; column++)
        for (uint64_t row = 0; row < ld->rows; row++) {
            const size_t at  = column * (size_t)ld->stride + row;
            float        sum = 0;
            for (uint64_t k = 0; k < inner; k++)
                sum += left[row * inner + k] * right[column * inner + k];
            sum = finish(desc, *x * sum, row, column) + (*y != 0 ? *y * value_of(c, ld->type, at) : 0);
            put_value(d, ld->type, at, at == 0 && which == SLOW ? sum + 100 : sum);
        }
    free(left);
    free(right);
    if (which == SLOW)
        nanosleep(&(struct timespec){ .tv_nsec = SLOW_NANOSECONDS }, NULL);
    return 0;
}
