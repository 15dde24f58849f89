#include "tests/kernels_cuda/harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef RECTO_EMULATED
#include "tests/emu/emu.h"
#endif

enum { EDGE = 256, SENTINEL = 0xa5, MEMORIES = 256 };

struct options              options;
struct cuda_facts           facts, facts_80;
const struct cuda_kernels  *kernels;

static struct {
    const char *name;
    int         checks, failures, all_checks, all_failures, groups;
    uint64_t    random;
    uint64_t    digest;    /* of all that the group downloaded */
    int         schedule;  /* counts launches, so that cases meet the schedules in turn */
} state;

static void *memories[MEMORIES][2];  /* device, host */
static int   memory_count;

/* ---- groups ---- */

bool group_begin(const char *name, bool supported)
{
    if (options.only && strncmp(name, options.only, strlen(options.only)) != 0)
        return false;
    if (!supported) {
        printf("%-28s not on this device\n", name);
        return false;
    }
    state.name   = name;
    state.checks = state.failures = 0;
    state.digest = 0;
    state.random = options.seed * 0x9e3779b97f4a7c15u + 1;
    for (const char *c = name; *c; c++)
        state.random = (state.random ^ (uint64_t)(unsigned char)*c) * 0x100000001b3u;
    return true;
}

void group_end(void)
{
    printf("%-28s %4d checks%s\n", state.name, state.checks, state.failures ? "  FAILED" : "");
    if (options.digests)
        printf("digest %s %016llx\n", state.name, (unsigned long long)state.digest);
    if (state.failures)
        printf("    again: %s --seed %llu --only %s%s%s\n", options.program, (unsigned long long)options.seed, state.name,
               options.quick ? " --quick" : "", options.orders ? " --orders" : "");
    fflush(stdout);
    state.all_checks += state.checks;
    state.all_failures += state.failures;
    state.groups++;
    memory_free_all();
}

void check(bool passed, const char *text, ...)
{
    state.checks++;
    if (passed)
        return;
    if (++state.failures > 8)
        return;
    va_list arguments;
    va_start(arguments, text);
    printf("    %s: ", state.name);
    vprintf(text, arguments);
    printf("\n");
    va_end(arguments);
}

int finish(void)
{
    printf("%d groups, %d checks, %d failed\n", state.groups, state.all_checks, state.all_failures);
    return state.all_failures || !state.all_checks ? 1 : 0;
}

/* ---- the device ---- */

bool device_find(void)
{
    int         count = 0, major = 0, minor = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
        printf("no CUDA device: %s\n", cudaGetErrorString(error));
        return false;
    }
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    cudaDeviceGetAttribute(&facts.processors, cudaDevAttrMultiProcessorCount, 0);
    cudaDeviceGetAttribute(&facts.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
    facts.architecture = 10 * major + minor;
    enum cudaDriverEntryPointQueryResult found;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &facts.encode_tensor_map, 12000, cudaEnableDefault, &found) !=
            cudaSuccess || found != cudaDriverEntryPointSuccess)
        facts.encode_tensor_map = NULL;
    facts_80              = facts;
    facts_80.architecture = 80;
    kernels               = kernels_cuda(&facts);
    if (!kernels)
        printf("no kernels for compute capability %d.%d\n", major, minor);
    return kernels != NULL;
}

#ifdef RECTO_EMULATED
static const struct {
    enum emu_order order;
    enum emu_async async;
} schedules[] = {
    { EMU_SEQUENTIAL, EMU_LATE }, { EMU_REVERSE, EMU_LATE },  { EMU_ROUND_ROBIN, EMU_EARLY }, { EMU_RANDOM, EMU_ANY },
    { EMU_PRIORITY, EMU_LATE },   { EMU_PRIORITY, EMU_ANY },  { EMU_SEQUENTIAL, EMU_EARLY },  { EMU_RANDOM, EMU_LATE },
    { EMU_REVERSE, EMU_ANY },     { EMU_ROUND_ROBIN, EMU_LATE },
};
int schedule_count(void) { return options.orders ? (int)(sizeof schedules / sizeof *schedules) : 1; }

void schedule_take(int index)
{
    const int at          = (options.orders ? index : state.schedule++) % (int)(sizeof schedules / sizeof *schedules);
    emu_settings()->order = schedules[at].order;
    emu_settings()->async = schedules[at].async;
    emu_settings()->seed  = options.seed + (uint64_t)at;
}
#else
int  schedule_count(void) { return 1; }
void schedule_take(int index) { (void)index; }
#endif

bool launch_run(const struct cuda_launch *launch, test_launch *launch_it, void *context, const char *what)
{
    cudaError_t error = launch_it(launch, context);
    if (error == cudaSuccess)
        error = cudaDeviceSynchronize();
    check(error == cudaSuccess, "%s: %s", what, cudaGetErrorString(error));
    return error == cudaSuccess;
}

/* ---- numbers ---- */

uint64_t random_bits(void)
{
    state.random ^= state.random << 13;
    state.random ^= state.random >> 7;
    state.random ^= state.random << 17;
    return state.random * 0x2545f4914f6cdd1du;
}

int random_int(int low, int high) { return low + (int)(random_bits() >> 33) % (high - low + 1); }

float random_float(void)
{
    float sum = 0.0f;
    for (int i = 0; i < 4; i++)
        sum += (float)(random_bits() >> 40) / 8388608.0f - 1.0f;
    return sum * 0.8660254f;
}

/* ---- memory ---- */

static void must(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    printf("%s: %s\n", what, cudaGetErrorString(error));
    exit(2);
}

void *device_bytes(size_t bytes)
{
    void *device = NULL;
    must(cudaMalloc(&device, bytes), "memory on the device");
    if (memory_count == MEMORIES) {
        printf("more than %d buffers in a group\n", MEMORIES);
        exit(2);
    }
    memories[memory_count][0]   = device;
    memories[memory_count++][1] = NULL;
    return device;
}

int32_t *device_ints(const int32_t *values, int count)
{
    int32_t *device = device_bytes((size_t)count * sizeof *values);
    must(cudaMemcpy(device, values, (size_t)count * sizeof *values, cudaMemcpyHostToDevice), "copy to the device");
    return device;
}

void memory_free_all(void)
{
    for (int i = 0; i < memory_count; i++) {
        must(cudaFree(memories[i][0]), "freeing memory on the device");
        free(memories[i][1]);
    }
    memory_count = 0;
}

struct matrix matrix_new(enum dtype type, int rows, int columns, int gap)
{
    const size_t  element = (size_t)dtype_bits(type) / 8;
    struct matrix m       = { .type = type, .rows = rows, .columns = columns };
    m.stride              = (size_t)(columns + gap) * element;
    if (type != DTYPE_F32 || gap > 1)
        m.stride = (m.stride + 15) / 16 * 16;
    m.bytes      = 2 * EDGE + m.stride * (size_t)rows;
    char *device = device_bytes(m.bytes), *host = malloc(m.bytes);
    must(host ? cudaSuccess : cudaErrorMemoryAllocation, "memory of the host");
    memories[memory_count - 1][1] = host;
    memset(host, SENTINEL, m.bytes);
    m.device = device + EDGE;
    m.host   = host + EDGE;
    matrix_upload(&m);
    return m;
}

static float f16_to_float(uint16_t bits)
{
    const int      exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float    value = exponent ? ldexpf((float)(fraction + 1024), exponent - 25) : ldexpf((float)fraction, -24);
    return exponent == 31 ? (fraction ? NAN : (bits >> 15 ? -INFINITY : INFINITY)) : bits >> 15 ? -value : value;
}

static uint16_t f16_from_float(float x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x))
        return 0x7fff;
    if (fabsf(x) >= 65520.0f)
        return sign | 0x7c00;
    int exponent;
    frexpf(x, &exponent);
    exponent          = exponent < -13 ? -13 : exponent;  /* below, steps stay 2^-24 */
    const float steps = nearbyintf(ldexpf(fabsf(x), 11 - exponent));
    return (uint16_t)(sign | (exponent == -13 ? (int)steps : (exponent + 13) * 1024 + (int)steps));
}

double matrix_get(const struct matrix *m, int row, int column)
{
    const char *at = m->host + m->stride * (size_t)row;
    switch (m->type) {
    case DTYPE_F32: return ((const float *)(const void *)at)[column];
    case DTYPE_BF16: return bf16_to_float(((const uint16_t *)(const void *)at)[column]);
    case DTYPE_F16: return f16_to_float(((const uint16_t *)(const void *)at)[column]);
    case DTYPE_F8_E4M3: return e4m3_to_float(((const uint8_t *)at)[column]);
    default: return ((const uint8_t *)at)[column];
    }
}

void matrix_set(struct matrix *m, int row, int column, double value)
{
    char *at = m->host + m->stride * (size_t)row;
    if (m->type == DTYPE_F32)
        ((float *)(void *)at)[column] = (float)value;
    else if (m->type == DTYPE_BF16)
        ((uint16_t *)(void *)at)[column] = isnan(value) ? 0x7fff : bf16_from_float((float)value);
    else if (m->type == DTYPE_F8_E4M3)
        ((uint8_t *)at)[column] = isnan(value) ? 0xff : e4m3_from_float((float)value);
    else if (m->type == DTYPE_F16)
        ((uint16_t *)(void *)at)[column] = f16_from_float((float)value);
    else
        ((uint8_t *)at)[column] = isnan(value) ? 0xff : (uint8_t)value;
}

void matrix_fill_rows(struct matrix *m, int first, double value)
{
    for (int row = first; row < m->rows; row++)
        for (int column = 0; column < m->columns; column++)
            matrix_set(m, row, column, value);
}

void matrix_fill_gaps(struct matrix *m)
{
    const size_t used = (size_t)m->columns * (size_t)dtype_bits(m->type) / 8;
    for (int row = 0; row < m->rows; row++)
        memset(m->host + m->stride * (size_t)row + used, 0xff, m->stride - used);
}

struct matrix matrix_random(enum dtype type, int rows, int columns, int gap, float scale)
{
    struct matrix m = matrix_new(type, rows, columns, gap);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++)
            matrix_set(&m, row, column, scale * random_float());
    matrix_upload(&m);
    return m;
}

void matrix_upload(struct matrix *m)
{
    must(cudaMemcpy(m->device - EDGE, m->host - EDGE, m->bytes, cudaMemcpyHostToDevice), "upload");
}

/* Values, not bytes: devices write NaNs of different bits. */
static void add_to_digest(const struct matrix *m)
{
    for (int row = 0; row < m->rows; row++)
        for (int column = 0; column < m->columns; column++) {
            const double value = matrix_get(m, row, column);
            uint64_t     bits  = 1;
            if (!isnan(value))
                memcpy(&bits, &value, sizeof bits);
            state.digest = (state.digest ^ (bits ^ bits >> 32)) * 0x100000001b3u;
        }
}

void matrix_download(struct matrix *m)
{
    must(cudaMemcpy(m->host - EDGE, m->device - EDGE, m->bytes, cudaMemcpyDeviceToHost), "download");
    if (options.digests)
        add_to_digest(m);
}

void matrix_poison(struct matrix *m)
{
    matrix_fill_rows(m, 0, NAN);
    matrix_upload(m);
}

static bool all_sentinel(const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)from[i] != SENTINEL)
            return false;
    return true;
}

bool matrix_intact(const struct matrix *m)
{
    const size_t used = (size_t)m->columns * (size_t)dtype_bits(m->type) / 8;
    bool         same = all_sentinel(m->host - EDGE, EDGE) && all_sentinel(m->host + m->stride * (size_t)m->rows, EDGE);
    for (int row = 0; row < m->rows; row++)
        same = same && all_sentinel(m->host + m->stride * (size_t)row + used, m->stride - used);
    return same;
}

/* ---- launches ---- */

static struct cuda_live *device_live(int tokens, int sequences)
{
    const int32_t values[2] = { tokens, sequences };
    return (struct cuda_live *)(void *)device_ints(values, 2);
}

struct cuda_launch launch_rows(int live, int cap)
{
    enum { OTHERS = 200 };  /* tokens beyond the sequences: whoever takes one for the other goes beyond its memory */
    const bool sequences = live % 2;
    return (struct cuda_launch){ .facts = &facts, .live = device_live(sequences ? live + OTHERS : live, sequences ? live : 1),
                                 .tokens = sequences ? cap + OTHERS : cap, .sequences = sequences ? cap : 1, .longest = cap,
                                 .rows = sequences ? CUDA_ROWS_SEQUENCES : CUDA_ROWS_TOKENS };
}

struct packing packing_new(const int *lengths, int count, int spare_tokens, int spare_sequences)
{
    struct packing p = { .sequences = count };
    for (int i = 0; i < count; i++) {
        p.starts[i] = p.tokens;
        p.tokens += lengths[i];
        p.longest = lengths[i] > p.longest ? lengths[i] : p.longest;
    }
    p.starts[count] = p.tokens;
    p.token_cap     = p.tokens + spare_tokens;
    p.sequence_cap  = count + spare_sequences;
    for (int i = count + 1; i <= p.sequence_cap; i++)
        p.starts[i] = -1;  /* never to be read */
    p.device_starts = device_ints(p.starts, p.sequence_cap + 1);
    return p;
}

struct cuda_launch launch_of(const struct packing *p, enum cuda_rows rows)
{
    return (struct cuda_launch){ .facts = &facts, .live = device_live(p->tokens, p->sequences), .tokens = p->token_cap,
                                 .sequences = p->sequence_cap, .longest = p->longest, .rows = rows };
}

/* ---- comparison ---- */

void closeness_add(struct closeness *c, double actual, double expected, double tolerance, int row, int column)
{
    const double difference = fabs(actual - expected);
    const double ratio      = isnan(difference) ? INFINITY : difference / (tolerance + 1e-300);
    if (ratio > c->worst)
        *c = (struct closeness){ ratio, row, column, actual, expected };
}

void check_close(const struct closeness *c, const char *text, ...)
{
    char    name[160];
    va_list arguments;
    va_start(arguments, text);
    vsnprintf(name, sizeof name, text, arguments);
    va_end(arguments);
    check(c->worst <= 1.0, "%s: row %d column %d is %.9g, expected %.9g (%.3g of what is allowed)", name, c->row, c->column,
          c->actual, c->expected, c->worst);
}

/* ---- e4m3 ---- */

/* Of the 127 sizes the nearest to |t|; of two as near, the one with an even last bit. */
static int e4m3_nearest(double t)
{
    int best = 0;
    for (int code = 1; code < 127; code++) {
        const double d = fabs(e4m3_to_float((uint8_t)code) - fabs(t)), b = fabs(e4m3_to_float((uint8_t)best) - fabs(t));
        if (d < b || (d == b && code % 2 == 0))
            best = code;
    }
    return best | (signbit(t) ? 128 : 0);
}

void check_e4m3(const struct matrix *x, const struct matrix *codes, const struct matrix *scales, int rows)
{
    int wrong = 0;
    for (int r = 0; r < rows; r++) {
        float largest = 0;
        for (int c = 0; c < x->columns; c++)
            largest = fmaxf(largest, fabsf((float)matrix_get(x, r, c)));
        const bool  any     = largest >= QUANTIZE_LEAST_RANGE;
        const float inverse = any ? 448.0f / largest : 0.0f;
        wrong += (any ? largest / 448.0f : 1.0f) != (float)matrix_get(scales, 0, r);
        for (int c = 0; c < x->columns; c++) {
            const int code = (uint8_t)codes->host[codes->stride * (size_t)r + (size_t)c];
            wrong += e4m3_nearest((float)matrix_get(x, r, c) * inverse) != code;
        }
    }
    check(wrong == 0, "%d rows of %d: %d codes or scales are wrong", rows, x->columns, wrong);
}
