/* attention_schedule.cuh: which rows a block of attention takes, written once for a forward pass and read by every layer.
 *
 * Small tiles have four strips of up to 16 rows. A strip belongs to one sequence. Sequences of up to SCHEDULE_PACKED rows lie
 * whole in one tile, four of up to 16 rows together, two of up to 32, one of up to 64; longer ones take a tile for every 64
 * rows. Large tiles are rows of one sequence, for the kernel of warpgroups.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_SCHEDULE_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_SCHEDULE_CUH

#include "kernels/attention/attention_choose.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.cuh"

enum {
    SCHEDULE_STRIPS = 4,
    SCHEDULE_STRIP  = 16,
    SCHEDULE_TILE   = SCHEDULE_STRIPS * SCHEDULE_STRIP,
    SCHEDULE_PACKED = SCHEDULE_TILE
};

struct alignas(16) schedule_strip {
    int32_t row, rows;      /* the first row and how many; none: an empty strip */
    int32_t start, length;  /* of its sequence */
};

struct schedule_small {
    struct schedule_strip strips[SCHEDULE_STRIPS];
};

struct alignas(16) schedule_large {
    int32_t row, start, length, unused;
};

/* The head of the memory, a whole sector; the tiles follow it, small ones first, room for `room` of each. */
struct alignas(16) attention_schedule {
    int32_t small, large, room, unused[5];
};

/* A sequence of n rows has at most n / 64 + 1 tiles of either kind. */
static inline int schedule_room(const struct cuda_launch *launch) { return launch->tokens / SCHEDULE_TILE + launch->sequences; }

static inline bool attention_valid(const struct attention_args *a, size_t unit)
{
    return a->q && a->k && a->v && a->y && a->starts && a->heads > 0 && a->kv_heads > 0 && a->heads % a->kv_heads == 0 &&
           a->head_size > 0 && launch_aligned(a->q, a->q_stride, unit) && launch_aligned(a->k, a->k_stride, unit) &&
           launch_aligned(a->v, a->v_stride, unit) && launch_aligned(a->y, a->y_stride, unit);
}

/* As if all sequences were equally long. */
static inline struct kernel_shape attention_shape(const struct cuda_launch *launch, const struct attention_args *a,
                                                  const char *name)
{
    const double        width = (double)a->heads * a->head_size, kv_width = (double)a->kv_heads * a->head_size;
    struct kernel_shape shape = {};
    shape.name                = name;
    shape.bytes               = launch->tokens * (2.0 * width + 2.0 * kv_width) * dtype_bits(a->type) / 8;
    shape.operations          = 4.0 * width * launch->tokens * launch->tokens / launch->sequences * (a->causal ? 0.5 : 1.0);
    return shape;
}

DEVICE struct schedule_small *schedule_small_tiles(struct attention_schedule *s) { return (struct schedule_small *)(s + 1); }
DEVICE struct schedule_large *schedule_large_tiles(struct attention_schedule *s)
{
    return (struct schedule_large *)(schedule_small_tiles(s) + s->room);
}

#endif
