/* tensor_map.h: how TMA sees a matrix: rows of 8 or 16-bit elements, taken in boxes that land in shared memory in rows of 128
 * bytes, swizzled (swizzle_128 in fragments.cuh). What lies beyond the matrix reads as zero and is not written.
 *
 * Or a matrix of heads: each row is `heads` times `columns` elements side by side, and coordinates are column, head, row. Boxes
 * of 32 or 16 columns land in rows of 64 or 32 bytes, swizzled likewise; columns past a head's end read as zeros.
 */
#ifndef RECTO_KERNELS_CUDA_TENSOR_MAP_H
#define RECTO_KERNELS_CUDA_TENSOR_MAP_H

#include "kernels/cuda/kernels_cuda.h"

#include <cuda.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TENSOR_MAP_BOX_BYTES = 128 };  /* of a box's row */

struct tensor_map_matrix {
    const void *base;      /* aligned to 16 */
    enum dtype  type;      /* DTYPE_BF16, DTYPE_F16 or DTYPE_F8_E4M3 */
    int         columns, rows;
    size_t      stride;    /* bytes, a multiple of 16 */
    int         box_rows;  /* up to 256 */
};

/* cudaErrorInvalidValue where the driver refuses, cudaErrorNotSupported where there is no encoder. */
cudaError_t tensor_map_make(const struct cuda_facts *facts, CUtensorMap *map, const struct tensor_map_matrix *matrix);
/* box_columns: 64, 32 or 16. */
cudaError_t tensor_map_make_heads(const struct cuda_facts *facts, CUtensorMap *map, const struct tensor_map_matrix *matrix,
                                  int heads, int box_columns);

#ifdef __cplusplus
}
#endif

#endif
