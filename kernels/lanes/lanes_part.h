/* lanes_part.h: sixteen lanes or the last few of a row, by one call. Where `count` is the constant LANES the partial branch
 * disappears, so a loop over whole vectors and the tail after it share one body: see LANES_ROW. */
#ifndef RECTO_KERNELS_LANES_PART_H
#define RECTO_KERNELS_LANES_PART_H

#include "kernels/lanes/lanes.h"

/* Runs `body` over a row of `width` elements; in it, `column` is where a vector starts and `count` how many lanes it has. */
#define LANES_ROW(width, column, count, body)                               \
    do {                                                                    \
        int column = 0;                                                     \
        for (const int count = LANES; column + LANES <= (width); column += LANES) \
            body;                                                           \
        if (column < (width)) {                                             \
            const int count = (width) - column;                             \
            body;                                                           \
        }                                                                   \
    } while (0)

/* Lanes from `count` on are zero. */
LANES_INLINE v16 v16_load_count(const float *p, int count) { return count == LANES ? v16_load(p) : v16_load_part(p, count); }

LANES_INLINE void v16_store_count(float *p, v16 x, int count)
{
    if (count == LANES)
        v16_store(p, x);
    else
        v16_store_part(p, x, count);
}

LANES_INLINE v16 v16_load_bf16_count(const uint16_t *p, int count)
{
    if (count == LANES)
        return v16_load_bf16(p);
    uint16_t whole[LANES] = { 0 };
    memcpy(whole, p, sizeof *p * (size_t)count);
    return v16_load_bf16(whole);
}

LANES_INLINE void v16_store_bf16_count(uint16_t *p, v16 x, int count)
{
    if (count == LANES) {
        v16_store_bf16(p, x);
        return;
    }
    uint16_t whole[LANES];
    v16_store_bf16(whole, x);
    memcpy(p, whole, sizeof *p * (size_t)count);
}

LANES_INLINE void w16_store_bytes_count(uint8_t *p, w16 a, int count)
{
    if (count == LANES) {
        w16_store_bytes(p, a);
        return;
    }
    uint8_t whole[LANES];
    w16_store_bytes(whole, a);
    memcpy(p, whole, (size_t)count);
}

#endif
