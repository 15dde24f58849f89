/* rows.h: the address of a row of a matrix whose stride is in bytes. */
#ifndef RECTO_KERNELS_ROWS_H
#define RECTO_KERNELS_ROWS_H

#include <stddef.h>

static inline const void *row_read(const void *base, size_t stride, int row) { return (const char *)base + stride * (size_t)row; }
static inline void       *row_write(void *base, size_t stride, int row) { return (char *)base + stride * (size_t)row; }

#endif
