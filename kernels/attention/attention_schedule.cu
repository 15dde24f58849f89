/* The schedule of attention_schedule.cuh: one block counts, then writes. Each thread has a run of neighbouring sequences, so
 * the order of the tiles is that of the sequences within each kind. */
#include "kernels/attention/attention_schedule.cuh"

enum { SCHEDULE_THREADS = 256, SCHEDULE_WARPS = SCHEDULE_THREADS / 32 };

/* Kinds of work in the order of their tiles; those of the packed ones are counted in sequences first. */
enum { KIND_LARGE, KIND_LONG, KIND_QUARTER, KIND_HALF, KIND_WHOLE, KINDS };

struct schedule_counts {
    int of[KINDS];
};

DEVICE int schedule_kind(int length, int large_rows)
{
    if (large_rows && length >= ATTENTION_LARGE_FROM)
        return KIND_LARGE;
    if (length > SCHEDULE_PACKED)
        return KIND_LONG;
    return length > SCHEDULE_TILE / 2 ? KIND_WHOLE : length > SCHEDULE_TILE / 4 ? KIND_HALF : KIND_QUARTER;
}

/* Strips that a packed sequence of this kind is given. */
DEVICE int schedule_strips(int kind) { return kind == KIND_WHOLE ? 4 : kind == KIND_HALF ? 2 : 1; }

DEVICE int tiles_of(int rows, int tile) { return (rows + tile - 1) / tile; }

/* Exclusive prefix of each count over the block, and the totals. */
DEVICE struct schedule_counts schedule_scan(struct schedule_counts mine, struct schedule_counts *warps,
                                            struct schedule_counts *totals)
{
    const int              lane = warp_lane(), warp = (int)threadIdx.x / 32;
    struct schedule_counts before;
#pragma unroll
    for (int kind = 0; kind < KINDS; kind++) {
        int sum = mine.of[kind];
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, sum, (unsigned)distance);
            sum += lane >= distance ? other : 0;
        }
        before.of[kind] = sum - mine.of[kind];
        if (lane == 31)
            warps[warp].of[kind] = sum;
    }
    __syncthreads();  /* each warp's sums are there for all */
#pragma unroll
    for (int kind = 0; kind < KINDS; kind++) {
        totals->of[kind] = 0;
        for (int w = 0; w < SCHEDULE_WARPS; w++) {
            before.of[kind] += w < warp ? warps[w].of[kind] : 0;
            totals->of[kind] += warps[w].of[kind];
        }
    }
    return before;
}

DEVICE void write_strip(struct schedule_strip *strip, int row, int start, int length)
{
    strip->row    = row;
    strip->rows   = max(0, min(SCHEDULE_STRIP, start + length - row));
    strip->start  = start;
    strip->length = length;
}

/* Where the small tiles of each kind begin. */
DEVICE struct schedule_counts schedule_bases(const struct schedule_counts &totals)
{
    struct schedule_counts base;
    base.of[KIND_LARGE]   = 0;
    base.of[KIND_LONG]    = 0;
    base.of[KIND_WHOLE]   = totals.of[KIND_LONG];
    base.of[KIND_HALF]    = base.of[KIND_WHOLE] + totals.of[KIND_WHOLE];
    base.of[KIND_QUARTER] = base.of[KIND_HALF] + tiles_of(totals.of[KIND_HALF], 2);
    return base;
}

__global__ void __launch_bounds__(SCHEDULE_THREADS)
attention_schedule_kernel(struct attention_schedule *schedule, const int32_t *starts, int large_rows, int room,
                          const struct cuda_live *live)
{
    SHARED_ARRAY(struct schedule_counts, warps, SCHEDULE_WARPS);
    const int sequences = live->sequences, each = tiles_of(sequences, SCHEDULE_THREADS);
    const int first = min((int)threadIdx.x * each, sequences), last = min(first + each, sequences);

    struct schedule_counts mine = {};
    for (int s = first; s < last; s++) {
        const int length = starts[s + 1] - starts[s], kind = schedule_kind(length, large_rows);
#pragma unroll
        for (int k = 0; k < KINDS; k++)  /* a constant index keeps the counts in registers */
            mine.of[k] += k != kind         ? 0
                          : k == KIND_LARGE ? tiles_of(length, large_rows)
                          : k == KIND_LONG  ? tiles_of(length, SCHEDULE_TILE)
                                            : 1;
    }
    struct schedule_counts       totals;
    struct schedule_counts       next  = schedule_scan(mine, warps, &totals);
    const struct schedule_counts base  = schedule_bases(totals);
    struct schedule_small       *small = (struct schedule_small *)(schedule + 1);
    struct schedule_large       *large = (struct schedule_large *)(small + room);

    for (int s = first; s < last; s++) {
        const int start = starts[s], length = starts[s + 1] - start, kind = schedule_kind(length, large_rows);
        if (kind == KIND_LARGE) {
            for (int row = 0; row < length; row += large_rows) {
                const struct schedule_large tile = { start + row, start, length, 0 };
                large[next.of[KIND_LARGE]++]     = tile;
            }
        } else if (kind == KIND_LONG) {
            for (int row = 0; row < length; row += SCHEDULE_TILE, next.of[KIND_LONG]++)
                for (int i = 0; i < SCHEDULE_STRIPS; i++)
                    write_strip(&small[next.of[KIND_LONG]].strips[i], start + row + i * SCHEDULE_STRIP, start, length);
        } else {
            const int strips = schedule_strips(kind), each_tile = SCHEDULE_STRIPS / strips;
            const int place = kind == KIND_WHOLE  ? next.of[KIND_WHOLE]++
                              : kind == KIND_HALF ? next.of[KIND_HALF]++
                                                  : next.of[KIND_QUARTER]++;
            const int tile = place / each_tile + (kind == KIND_WHOLE  ? base.of[KIND_WHOLE]
                                                  : kind == KIND_HALF ? base.of[KIND_HALF]
                                                                      : base.of[KIND_QUARTER]);
            for (int i = 0; i < strips; i++)
                write_strip(&small[tile].strips[place % each_tile * strips + i], start + i * SCHEDULE_STRIP, start, length);
        }
    }
    if (threadIdx.x != 0)
        return;
    for (int i = totals.of[KIND_HALF] % 2 * 2; i > 0 && i < SCHEDULE_STRIPS; i++)
        write_strip(&small[base.of[KIND_QUARTER] - 1].strips[i], 0, 0, 0);
    const int count = base.of[KIND_QUARTER] + tiles_of(totals.of[KIND_QUARTER], SCHEDULE_STRIPS);
    for (int i = totals.of[KIND_QUARTER] % SCHEDULE_STRIPS; i > 0 && i < SCHEDULE_STRIPS; i++)
        write_strip(&small[count - 1].strips[i], 0, 0, 0);
    schedule->small = count;
    schedule->large = totals.of[KIND_LARGE];
    schedule->room  = room;
}

extern "C" size_t attention_schedule_bytes(int tokens, int sequences)
{
    struct cuda_launch caps = {};
    caps.tokens             = tokens;
    caps.sequences          = sequences;
    return sizeof(struct attention_schedule) +
           (size_t)schedule_room(&caps) * (sizeof(struct schedule_small) + sizeof(struct schedule_large));
}

extern "C" cudaError_t attention_schedule_launch(const struct cuda_launch *launch, const struct attention_args *args,
                                                 void *schedule, const struct attention_choice *choice)
{
    if (!args->starts || !schedule || !launch_aligned(schedule, 0, 16))
        return cudaErrorInvalidValue;
    const int                 room  = schedule_room(launch), large_rows = choice->large_rows;
    const double              bytes = 4.0 * launch->sequences + 80.0 * room;
    const struct kernel_shape shape = { "attention_schedule", bytes, 0, dim3(1), SCHEDULE_THREADS, 0, 0 };
    KERNEL_LAUNCH(launch, shape, KERNEL_HANDLE(attention_schedule_kernel), &schedule, &args->starts, &large_rows, &room,
                  &launch->live);
}

extern "C" cudaError_t attention_schedule_cuda(const struct cuda_launch *launch, const struct attention_args *args, void *schedule)
{
    const struct attention_choice choice = attention_cuda_choose(launch->facts, args);
    return attention_schedule_launch(launch, args, schedule, &choice);
}
