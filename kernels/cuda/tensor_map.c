#include "kernels/cuda/tensor_map.h"

#include <string.h>

typedef CUresult encode_tiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base, const cuuint64_t *sizes,
                              const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps,
                              CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                              CUtensorMapFloatOOBfill fill);

cudaError_t tensor_map_make(const struct cuda_facts *facts, CUtensorMap *map, const struct tensor_map_matrix *matrix)
{
    encode_tiled *encode;
    memcpy(&encode, &facts->encode_tensor_map, sizeof encode);  /* C has no cast from an object's pointer to a function's */
    if (!encode)
        return cudaErrorNotSupported;
    const cuuint64_t sizes[2]  = { (cuuint64_t)matrix->columns, (cuuint64_t)matrix->rows }, strides[1] = { matrix->stride };
    const cuuint32_t box[2]    = { TENSOR_MAP_COLUMNS, (cuuint32_t)matrix->box_rows }, steps[2] = { 1, 1 };
    const CUtensorMapDataType type =
        matrix->type == DTYPE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    void *base;
    memcpy(&base, &matrix->base, sizeof base);  /* the driver's prototype knows no const */
    const CUresult result = encode(map, type, 2, base, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}
