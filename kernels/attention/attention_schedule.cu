/* The schedule of attention_schedule.cuh: one block counts, then writes. Each thread counts a run of neighbouring sequences, so
 * the order of the tiles is that of the sequences within each kind. Then the threads take strips and large tiles one after
 * another and look for the sequence that each is of: neighbours write together, and a long sequence is no one thread's work. */
#include "kernels/attention/attention_schedule.cuh"

enum { SCHEDULE_THREADS = 256, SCHEDULE_WARPS = SCHEDULE_THREADS / 32, SCHEDULE_STEP = SCHEDULE_THREADS + SCHEDULE_WARPS };

/* Kinds of work in the order of their tiles. They are counted in units: packed ones in sequences, the others in tiles. */
enum { KIND_LARGE, KIND_LONG, KIND_WHOLE, KIND_HALF, KIND_QUARTER, KINDS };

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

DEVICE int tiles_of(int rows, int tile) { return (rows + tile - 1) / tile; }

DEVICE int schedule_units(int kind, int length, int large_rows)
{
    return kind == KIND_LARGE ? tiles_of(length, large_rows) : kind == KIND_LONG ? tiles_of(length, SCHEDULE_TILE) : 1;
}

/* Strips of a unit. */
DEVICE int schedule_strips(int kind) { return kind == KIND_HALF ? 2 : kind == KIND_QUARTER ? 1 : SCHEDULE_STRIPS; }

/* The sequences, and what lies before each thread's run of them. */
struct schedule_runs {
    const int32_t *starts;
    int            each, large_rows;  /* sequences of a run */
    int           *before;            /* [KINDS * SCHEDULE_STEP] units, see schedule_before */
};

/* Where the units of a kind before a run are: those that one step of a search may look at, in different banks. */
DEVICE int schedule_before(int kind, int run) { return kind * SCHEDULE_STEP + run + run / 32; }

/* Fills `before`, and returns the totals. */
DEVICE struct schedule_counts schedule_scan(const struct schedule_runs &runs, const struct schedule_counts &mine,
                                            struct schedule_counts *warps)
{
    const int              lane = warp_lane(), warp = (int)threadIdx.x / 32;
    struct schedule_counts before, totals = {};
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
        for (int w = 0; w < SCHEDULE_WARPS; w++) {
            before.of[kind] += w < warp ? warps[w].of[kind] : 0;
            totals.of[kind] += warps[w].of[kind];
        }
        runs.before[schedule_before(kind, (int)threadIdx.x)] = before.of[kind];
    }
    __syncthreads();  /* so is what lies before each run */
    return totals;
}

/* A unit of a kind: its sequence, and the row where it begins. */
struct schedule_unit {
    int row, start, length;
};

/* The last run that does not begin beyond a unit holds it. */
DEVICE struct schedule_unit schedule_find(const struct schedule_runs &runs, int kind, int unit)
{
    const int rows = kind == KIND_LARGE ? runs.large_rows : SCHEDULE_TILE;
    int       run  = 0;
#pragma unroll
    for (int step = SCHEDULE_THREADS / 2; step > 0; step /= 2)
        run += runs.before[schedule_before(kind, run + step)] <= unit ? step : 0;
    struct schedule_unit found = {};
    int                  s = run * runs.each, left = unit - runs.before[schedule_before(kind, run)];
    while (left >= 0) {
        found.start  = runs.starts[s];
        found.length = runs.starts[++s] - found.start;
        if (schedule_kind(found.length, runs.large_rows) == kind) {
            found.row = found.start + left * rows;
            left -= schedule_units(kind, found.length, runs.large_rows);
        }
    }
    return found;
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

/* A strip of the small tiles, counted through; the last ones of a tile may be left over. */
DEVICE struct schedule_strip schedule_strip_at(const struct schedule_runs &runs, const struct schedule_counts &totals,
                                               const struct schedule_counts &base, int strip)
{
    int kind = KIND_LONG, begin = 0, total = totals.of[KIND_LONG];
#pragma unroll
    for (int k = KIND_LONG + 1; k < KINDS; k++)
        if (strip >= base.of[k] * SCHEDULE_STRIPS) {
            kind  = k;
            begin = base.of[k] * SCHEDULE_STRIPS;
            total = totals.of[k];
        }
    struct schedule_strip result = {};
    const int             unit   = (strip - begin) / schedule_strips(kind), place = (strip - begin) % schedule_strips(kind);
    if (unit >= total)
        return result;
    const struct schedule_unit of = schedule_find(runs, kind, unit);
    result.row                    = of.row + place * SCHEDULE_STRIP;
    result.rows                   = max(0, min((int)SCHEDULE_STRIP, of.start + of.length - result.row));
    result.start                  = of.start;
    result.length                 = of.length;
    return result;
}

__global__ void __launch_bounds__(SCHEDULE_THREADS)
attention_schedule_kernel(struct attention_schedule *schedule, const int32_t *starts, int large_rows, int room,
                          const struct cuda_live *live)
{
    SHARED_ARRAY(struct schedule_counts, warps, SCHEDULE_WARPS);
    SHARED_ARRAY(int, before, KINDS * SCHEDULE_STEP);
    const int sequences = live->sequences, each = tiles_of(sequences, SCHEDULE_THREADS);
    const int first = min((int)threadIdx.x * each, sequences), last = min(first + each, sequences);
    const struct schedule_runs runs = { starts, each, large_rows, before };

    struct schedule_counts mine = {};
    for (int s = first; s < last; s++) {
        const int length = starts[s + 1] - starts[s], kind = schedule_kind(length, large_rows);
#pragma unroll
        for (int k = 0; k < KINDS; k++)  /* a constant index keeps the counts in registers */
            mine.of[k] += k == kind ? schedule_units(k, length, large_rows) : 0;
    }
    const struct schedule_counts totals = schedule_scan(runs, mine, warps), base = schedule_bases(totals);
    const int                    count  = base.of[KIND_QUARTER] + tiles_of(totals.of[KIND_QUARTER], SCHEDULE_STRIPS);

    struct schedule_strip *strips = schedule_small_tiles(schedule)->strips;
    for (int i = (int)threadIdx.x; i < count * SCHEDULE_STRIPS; i += SCHEDULE_THREADS) {
        const struct schedule_strip strip = schedule_strip_at(runs, totals, base, i);
        const int4                  words = { strip.row, strip.rows, strip.start, strip.length };
        *(int4 *)&strips[i]               = words;
    }
    struct schedule_large *large = (struct schedule_large *)(strips + room * SCHEDULE_STRIPS);
    for (int i = (int)threadIdx.x; i < totals.of[KIND_LARGE]; i += SCHEDULE_THREADS) {
        const struct schedule_unit tile  = schedule_find(runs, KIND_LARGE, i);
        const int4                 words = { tile.row, tile.start, tile.length, 0 };
        *(int4 *)&large[i]               = words;
    }
    if (threadIdx.x == 0) {
        const int4 words  = { count, totals.of[KIND_LARGE], room, 0 };
        *(int4 *)schedule = words;
    }
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
