/* attention.h on a GPU with mma.sync (sm_80 and later), and attention in f32.
 *
 * attention_mma: a block takes a small tile of the schedule for one head; each of its four warps has one strip of 16 query
 * rows. Keys and values pass in tiles of 64 from the start of the sequence, the next tile under way by cp.async while one is
 * used. In a tile of short sequences the rows lie strip by strip in shared memory and a warp reads the strips of its own
 * sequence alone. Within a tile a warp goes through blocks of 16 keys, and blocks without a key that it sees are left out: so
 * a sequence meets the same operations in the same order alone and in any company.
 *
 * Rows past the end of a sequence are zeros in shared memory, keys and values alike. A key that is not seen weighs exactly 0;
 * in causal attention an infinity in the values of a later row of the same 16 still makes a NaN of it, as 0 times infinity.
 *
 * Scores stay unscaled; scale * log2 e goes into the fused multiply-add in front of 2^x.
 */
#include "kernels/attention/attention_schedule.cuh"

#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/instructions.cuh"

enum { ATTENTION_THREADS = 32 * SCHEDULE_STRIPS, ATTENTION_BLOCKS_A_TILE = SCHEDULE_TILE / 16 };

struct attention_work {
    const void                *q, *k, *v;
    void                      *y;
    size_t                     q_stride, k_stride, v_stride, y_stride; /* bytes */
    int                        shared_heads;                           /* query heads for each head of k and v */
    int                        head_size;
    float                      scale;                                  /* times log2 e */
    bool                       causal;
    struct attention_schedule *schedule;
};

/* Byte offset of a 16-byte chunk in a tile of rows of HEAD elements, turned so that eight rows of one chunk lie in different
 * banks whatever the length of a row. */
template <int HEAD> DEVICE uint32_t attention_place(int row, int chunk)
{
    constexpr int CHUNKS = HEAD / 8;
    const int     turn   = CHUNKS % 8 == 0 ? row & 7 : CHUNKS % 4 == 0 ? row >> 1 & 3 : row >> 2 & 1;
    return (uint32_t)((row * CHUNKS + (chunk ^ turn)) * 16);
}

template <class T> DEVICE uint32_t packed_pair(float a, float b)
{
    uint32_t bits;
    if constexpr (element_is_bf16<T>) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        memcpy(&bits, &pair, 4);
    } else {
        const __half2 pair = __floats2half2_rn(a, b);
        memcpy(&bits, &pair, 4);
    }
    return bits;
}

/* The strips of a tile, as they are, into shared memory. */
template <class T, int HEAD>
DEVICE void attention_fetch_strips(uint32_t shared, const T *from, size_t stride, const struct schedule_strip *strips, int head_size)
{
#pragma unroll
    for (int i = 0; i < SCHEDULE_TILE * HEAD / 8 / ATTENTION_THREADS; i++) {
        const int                   piece = i * ATTENTION_THREADS + (int)threadIdx.x, slot = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        const struct schedule_strip strip = strips[slot / SCHEDULE_STRIP];
        const int                   row   = slot % SCHEDULE_STRIP;
        const bool                  valid = row < strip.rows && chunk * 8 < head_size;
        cp_async<16>(shared + attention_place<HEAD>(slot, chunk), valid ? row_at(from, stride, strip.row + row) + chunk * 8 : from, valid);
    }
}

/* The rows of one sequence from `row` on, as far as there are `count`. */
template <class T, int HEAD> DEVICE void attention_fetch_rows(uint32_t shared, const T *from, size_t stride, int row, int count, int head_size)
{
#pragma unroll
    for (int i = 0; i < SCHEDULE_TILE * HEAD / 8 / ATTENTION_THREADS; i++) {
        const int  piece = i * ATTENTION_THREADS + (int)threadIdx.x, slot = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        const bool valid = slot < count && chunk * 8 < head_size;
        cp_async<16>(shared + attention_place<HEAD>(slot, chunk), valid ? row_at(from, stride, row + slot) + chunk * 8 : from, valid);
    }
}

template <class T, int HEAD> __global__ void __launch_bounds__(ATTENTION_THREADS) attention_mma(const __grid_constant__ struct attention_work w)
{
    constexpr int  STAGES = HEAD > 128 ? 1 : 2;    /* two of head 256 do not fit beside each other on every device */
    constexpr bool HELD   = HEAD <= 128;           /* queries stay in registers */
    constexpr int  TILE   = SCHEDULE_TILE * HEAD * 2;
    SHARED_DYNAMIC(uint8_t, shared, 128);
    SHARED_ARRAY(struct schedule_strip, strips, SCHEDULE_STRIPS);
    if ((int)blockIdx.x >= w.schedule->small)
        return;
    if (threadIdx.x < SCHEDULE_STRIPS)
        strips[threadIdx.x] = schedule_small_tiles(w.schedule)[blockIdx.x].strips[threadIdx.x];
    __syncthreads();  /* the strips are known to all */
    const int      warp = (int)threadIdx.x / 32, lane = warp_lane();
    const uint32_t queries = shared_address(shared), keys = queries + TILE, values = keys + STAGES * TILE;
    const size_t   head = (size_t)blockIdx.y * (size_t)w.head_size, kv_head = (size_t)((int)blockIdx.y / w.shared_heads) * (size_t)w.head_size;
    const T       *q = (const T *)w.q + head, *k = (const T *)w.k + kv_head, *v = (const T *)w.v + kv_head;

    const struct schedule_strip strip  = strips[warp];
    const struct schedule_strip front  = strips[0];
    const bool                  packed = front.length <= SCHEDULE_PACKED;
    const int                   place  = strip.row - strip.start;                      /* of the strip in its sequence */
    const int                   slot0  = packed ? (warp - place / SCHEDULE_STRIP) * SCHEDULE_STRIP : 0;  /* of its sequence's first key */
    /* keys that some row of the strip, of the tile sees */
    const int seen      = strip.rows == 0 ? 0 : w.causal ? place + strip.rows : strip.length;
    const int tile_seen = packed ? SCHEDULE_TILE : w.causal ? min(front.length, front.row - front.start + SCHEDULE_TILE) : front.length;
    const int tiles     = (tile_seen + SCHEDULE_TILE - 1) / SCHEDULE_TILE;

    attention_fetch_strips<T, HEAD>(queries, q, w.q_stride, strips, w.head_size);
    if (packed) {
        attention_fetch_strips<T, HEAD>(keys, k, w.k_stride, strips, w.head_size);
        attention_fetch_strips<T, HEAD>(values, v, w.v_stride, strips, w.head_size);
    } else {
        attention_fetch_rows<T, HEAD>(keys, k, w.k_stride, front.start, front.length, w.head_size);
        attention_fetch_rows<T, HEAD>(values, v, w.v_stride, front.start, front.length, w.head_size);
    }
    cp_async_commit();

    uint32_t held[HELD ? HEAD / 16 : 1][4];
    float    y[HEAD / 8][4] = {};
    float    most[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
    for (int t = 0; t < tiles; t++) {
        const int stage = t % STAGES, key0 = t * SCHEDULE_TILE;
        if (STAGES == 2 && t + 1 < tiles) {
            const int row = key0 + SCHEDULE_TILE;
            attention_fetch_rows<T, HEAD>(keys + (stage ^ 1) * TILE, k, w.k_stride, front.start + row, front.length - row, w.head_size);
            attention_fetch_rows<T, HEAD>(values + (stage ^ 1) * TILE, v, w.v_stride, front.start + row, front.length - row, w.head_size);
            cp_async_commit();
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        __syncthreads();  /* this tile, and the queries, are there for all */
        if (HELD && t == 0)
#pragma unroll
            for (int step = 0; step < HEAD / 16; step++)
                ldmatrix_x4(held[HELD ? step : 0],
                            queries + attention_place<HEAD>(warp * 16 + ldmatrix_a_row(lane), step * 2 + ldmatrix_a_column(lane) / 8));

        const int      blocks = min(ATTENTION_BLOCKS_A_TILE, (seen - key0 + 15) / 16);  /* of 16 keys, that the strip sees */
        const uint32_t tile_k = keys + stage * TILE, tile_v = values + stage * TILE;
        float          s[ATTENTION_BLOCKS_A_TILE][2][4];
        float          rise[2] = { most[0], most[1] };
#pragma unroll
        for (int j = 0; j < ATTENTION_BLOCKS_A_TILE; j++) {
            if (j >= blocks)
                continue;
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[j][0][i] = s[j][1][i] = 0.0f;
#pragma unroll
            for (int step = 0; step < HEAD / 16; step++) {
                uint32_t b[4], read[4];
                ldmatrix_x4(b, tile_k + attention_place<HEAD>(slot0 + j * 16 + ldmatrix_b_row(lane), step * 2 + ldmatrix_b_column(lane) / 8));
                if (!HELD)
                    ldmatrix_x4(read, queries + attention_place<HEAD>(warp * 16 + ldmatrix_a_row(lane), step * 2 + ldmatrix_a_column(lane) / 8));
                mma_m16n8k16<T>(s[j][0], HELD ? held[HELD ? step : 0] : read, b[0], b[1]);
                mma_m16n8k16<T>(s[j][1], HELD ? held[HELD ? step : 0] : read, b[2], b[3]);
            }
            const int  block0 = key0 + j * 16;
            const bool edge   = block0 + 16 > strip.length || (w.causal && block0 + 16 > place);
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    if (edge) {
                        const int key = block0 + n * 8 + fragment_c_column(lane, i), row = place + fragment_c_row(lane, i);
                        if (key >= strip.length || (w.causal && key > row))
                            s[j][n][i] = -INFINITY;
                    }
                    rise[i >> 1] = fmaxf(rise[i >> 1], s[j][n][i]);
                }
        }
        if (blocks > 0) {
            float base[2], fade[2], part[2] = { 0.0f, 0.0f };
#pragma unroll
            for (int r = 0; r < 2; r++) {
                rise[r] = fmaxf(rise[r], __shfl_xor_sync(0xffffffffu, rise[r], 1));
                rise[r] = fmaxf(rise[r], __shfl_xor_sync(0xffffffffu, rise[r], 2));
                fade[r] = exp2_approximate((most[r] - rise[r]) * w.scale);
                base[r] = rise[r] * w.scale;
                most[r] = rise[r];
            }
#pragma unroll
            for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    y[n][i] *= fade[i >> 1];
#pragma unroll
            for (int j = 0; j < ATTENTION_BLOCKS_A_TILE; j++) {
                if (j >= blocks)
                    continue;
                uint32_t weights[4];
#pragma unroll
                for (int n = 0; n < 2; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        s[j][n][i] = exp2_approximate(fmaf(s[j][n][i], w.scale, -base[i >> 1]));
                        part[i >> 1] += s[j][n][i];
                    }
                    weights[2 * n]     = packed_pair<T>(s[j][n][0], s[j][n][1]);
                    weights[2 * n + 1] = packed_pair<T>(s[j][n][2], s[j][n][3]);
                }
#pragma unroll
                for (int n = 0; n < HEAD / 16; n++) {
                    uint32_t b[4];
                    ldmatrix_x4_trans(b, tile_v + attention_place<HEAD>(slot0 + j * 16 + ldmatrix_a_row(lane), n * 2 + ldmatrix_a_column(lane) / 8));
                    mma_m16n8k16<T>(y[2 * n], weights, b[0], b[1]);
                    mma_m16n8k16<T>(y[2 * n + 1], weights, b[2], b[3]);
                }
            }
#pragma unroll
            for (int r = 0; r < 2; r++)
                sum[r] = fmaf(sum[r], fade[r], part[r]);
        }
        if (t + 1 < tiles)
            __syncthreads();  /* all are done with this stage, which is filled next */
        if (STAGES == 1 && t + 1 < tiles) {
            const int row = key0 + SCHEDULE_TILE;
            attention_fetch_rows<T, HEAD>(keys, k, w.k_stride, front.start + row, front.length - row, w.head_size);
            attention_fetch_rows<T, HEAD>(values, v, w.v_stride, front.start + row, front.length - row, w.head_size);
            cp_async_commit();
        }
    }

    /* Through the strip's own queries in shared memory, so that rows leave in whole 16-byte chunks. */
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
        const float inverse = 1.0f / sum[r];
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            const uint32_t at = attention_place<HEAD>(warp * 16 + fragment_c_row(lane, 2 * r), n) + (uint32_t)fragment_c_column(lane, 0) * 2;
            *(uint32_t *)(shared + at) = packed_pair<T>(y[n][2 * r] * inverse, y[n][2 * r + 1] * inverse);
        }
    }
    __syncwarp();  /* the strip is whole */
    T *out = (T *)w.y + head;
    for (int piece = lane; piece < strip.rows * (HEAD / 8); piece += 32) {
        const int row = piece / (HEAD / 8), chunk = piece % (HEAD / 8);
        if (chunk * 8 < w.head_size)
            *(uint4 *)(row_at(out, w.y_stride, strip.row + row) + chunk * 8) =
                *(const uint4 *)(shared + attention_place<HEAD>(warp * 16 + row, chunk));
    }
}

/* The sequence of a row: the last start that is not beyond it. */
DEVICE int sequence_of(const int32_t *starts, int sequences, int row)
{
    int low = 0, high = sequences - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (starts[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

struct attention_rows_work {
    struct attention_args   a;
    const struct cuda_live *live;
};

enum { ROWS_COLUMNS = ATTENTION_MOST_HEAD / 32 };  /* of y in a lane */

/* f32: lanes are keys for the scores, 32 at a time from the start of the sequence, then columns for the values. */
__global__ void __launch_bounds__(ROWS_THREADS) attention_rows(const __grid_constant__ struct attention_rows_work w)
{
    const struct attention_args &a    = w.a;
    const int                    row  = warp_row(), lane = warp_lane(), head = (int)blockIdx.y;
    const int                    kv_head = head / (a.heads / a.kv_heads);
    if (row >= w.live->tokens)
        return;
    const int    sequence = sequence_of(a.starts, w.live->sequences, row);
    const int    start = a.starts[sequence], end = a.causal ? row + 1 : a.starts[sequence + 1];
    const float *q = row_at((const float *)a.q, a.q_stride, row) + head * a.head_size;
    float        most = -INFINITY, sum = 0.0f, y[ROWS_COLUMNS] = {};
    for (int key0 = start; key0 < end; key0 += 32) {
        float score = -INFINITY;
        if (key0 + lane < end) {
            const float *k = row_at((const float *)a.k, a.k_stride, key0 + lane) + kv_head * a.head_size;
            score          = 0.0f;
            for (int i = 0; i < a.head_size; i++)
                score = fmaf(q[i], k[i], score);
            score *= a.scale;
        }
        const float rise = fmaxf(most, warp_max(score)), fade = expf(most - rise), weight = expf(score - rise);
        most             = rise;
        sum              = fmaf(sum, fade, warp_sum(weight));
#pragma unroll
        for (int c = 0; c < ROWS_COLUMNS; c++)
            y[c] *= fade;
        for (int j = 0; j < min(32, end - key0); j++) {
            const float  of_key = __shfl_sync(0xffffffffu, weight, j);
            const float *v      = row_at((const float *)a.v, a.v_stride, key0 + j) + kv_head * a.head_size;
#pragma unroll
            for (int c = 0; c < ROWS_COLUMNS; c++)
                if (c * 32 + lane < a.head_size)
                    y[c] = fmaf(of_key, v[c * 32 + lane], y[c]);
        }
    }
    float *out = row_at((float *)a.y, a.y_stride, row) + head * a.head_size;
#pragma unroll
    for (int c = 0; c < ROWS_COLUMNS; c++)
        if (c * 32 + lane < a.head_size)
            out[c * 32 + lane] = y[c] / sum;
}

static bool attention_valid(const struct attention_args *a, size_t unit)
{
    return a->q && a->k && a->v && a->y && a->starts && a->heads > 0 && a->kv_heads > 0 && a->heads % a->kv_heads == 0 &&
           a->head_size > 0 && launch_aligned(a->q, a->q_stride, unit) && launch_aligned(a->k, a->k_stride, unit) &&
           launch_aligned(a->v, a->v_stride, unit) && launch_aligned(a->y, a->y_stride, unit);
}

/* As if all sequences were equally long. */
static struct kernel_shape attention_shape(const struct cuda_launch *launch, const struct attention_args *a, const char *name)
{
    const double        width = (double)a->heads * a->head_size, kv_width = (double)a->kv_heads * a->head_size;
    struct kernel_shape shape = {};
    shape.name                = name;
    shape.bytes               = launch->tokens * (2.0 * width + 2.0 * kv_width) * dtype_bits(a->type) / 8;
    shape.operations          = 4.0 * width * launch->tokens * launch->tokens / launch->sequences * (a->causal ? 0.5 : 1.0);
    return shape;
}

template <class T> static const void *attention_mma_handle(int head)
{
    switch (head) {
    case 32: return KERNEL_HANDLE(attention_mma<T, 32>);
    case 64: return KERNEL_HANDLE(attention_mma<T, 64>);
    case 80: return KERNEL_HANDLE(attention_mma<T, 80>);
    case 96: return KERNEL_HANDLE(attention_mma<T, 96>);
    case 128: return KERNEL_HANDLE(attention_mma<T, 128>);
    default: return KERNEL_HANDLE(attention_mma<T, 256>);
    }
}

extern "C" cudaError_t attention_mma_launch(const struct cuda_launch *launch, const struct attention_args *args, void *schedule,
                                            const struct attention_choice *choice)
{
    if (!attention_valid(args, 16) || !launch_aligned(schedule, 0, 16) || !schedule)
        return cudaErrorInvalidValue;
    if (args->head_size % 8 != 0 || args->head_size > choice->head || args->y_type != args->type)
        return cudaErrorNotSupported;
    const bool            bf16 = args->type == DTYPE_BF16;
    struct attention_work w    = { args->q, args->k, args->v, args->y, args->q_stride, args->k_stride, args->v_stride, args->y_stride,
                                   args->heads / args->kv_heads, args->head_size, args->scale * 1.44269504f, args->causal,
                                   (struct attention_schedule *)schedule };
    const int           tile   = SCHEDULE_TILE * choice->head * 2;
    struct kernel_shape shape  = attention_shape(launch, args, bf16 ? "attention_bf16" : "attention_f16");
    shape.grid                 = dim3((unsigned)schedule_room(launch), (unsigned)args->heads);
    shape.threads              = ATTENTION_THREADS;
    shape.shared_bytes         = tile + (choice->head > 128 ? 1 : 2) * 2 * tile;
    KERNEL_LAUNCH(launch, shape, bf16 ? attention_mma_handle<__nv_bfloat16>(choice->head) : attention_mma_handle<__half>(choice->head), &w);
}

static cudaError_t attention_narrow(const struct cuda_launch *launch, const struct attention_args *args, void *schedule, enum dtype type)
{
    if (args->type != type)
        return cudaErrorNotSupported;
    struct attention_choice choice = attention_cuda_choose(launch->facts, args);
    return attention_mma_launch(launch, args, schedule, &choice);
}

extern "C" cudaError_t attention_bf16_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_BF16);
}

extern "C" cudaError_t attention_f16_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    return attention_narrow(launch, args, schedule, DTYPE_F16);
}

extern "C" cudaError_t attention_f32_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    (void)schedule;  /* rows are found one by one */
    if (!attention_valid(args, 4))
        return cudaErrorInvalidValue;
    if (args->type != DTYPE_F32 || args->y_type != DTYPE_F32 || args->head_size > ATTENTION_MOST_HEAD)
        return cudaErrorNotSupported;
    const struct attention_rows_work w = { *args, launch->live };
    struct kernel_shape shape          = attention_shape(launch, args, "attention_f32");
    shape.grid                         = dim3((unsigned)launch_blocks(launch->tokens, ROWS_WARPS), (unsigned)args->heads);
    shape.threads                      = ROWS_THREADS;
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(attention_rows), &w);
}
