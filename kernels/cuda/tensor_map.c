#include "kernels/cuda/tensor_map.h"

#include <string.h>

typedef CUresult encode_tiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base, const cuuint64_t *sizes,
                              const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps,
                              CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                              CUtensorMapFloatOOBfill fill);

/* What differs between matrices with and without heads. */
struct shape {
    cuuint32_t rank, box[3];
    cuuint64_t sizes[3], strides[2];
};

static cudaError_t make(const struct cuda_facts *facts, CUtensorMap *map, const struct tensor_map_matrix *matrix,
                        const struct shape *shape)
{
    encode_tiled *encode;
    memcpy(&encode, &facts->encode_tensor_map, sizeof encode);  /* C has no cast from an object's pointer to a function's */
    if (!encode)
        return cudaErrorNotSupported;
    const cuuint32_t          steps[3] = { 1, 1, 1 };
    const CUtensorMapDataType type     = matrix->type == DTYPE_BF16  ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                         : matrix->type == DTYPE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                                     : CU_TENSOR_MAP_DATA_TYPE_UINT8;
    const cuuint32_t         bytes     = shape->box[0] * (cuuint32_t)dtype_bits(matrix->type) / 8;  /* of a box's row */
    const CUtensorMapSwizzle swizzle   = bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                         : bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                                       : CU_TENSOR_MAP_SWIZZLE_32B;
    void *base;
    memcpy(&base, &matrix->base, sizeof base);  /* the driver's prototype knows no const */
    const CUresult result = encode(map, type, shape->rank, base, shape->sizes, shape->strides, shape->box, steps,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t tensor_map_make(const struct cuda_facts *facts, CUtensorMap *map, const struct tensor_map_matrix *matrix)
{
    const cuuint32_t   columns = (cuuint32_t)(TENSOR_MAP_BOX_BYTES * 8 / dtype_bits(matrix->type));
    const struct shape shape = { .rank = 2, .box = { columns, (cuuint32_t)matrix->box_rows },
                                 .sizes = { (cuuint64_t)matrix->columns, (cuuint64_t)matrix->rows },
                                 .strides = { matrix->stride } };
    return make(facts, map, matrix, &shape);
}

cudaError_t tensor_map_make_heads(const struct cuda_facts *facts, CUtensorMap *map, const struct tensor_map_matrix *matrix,
                                  int heads, int box_columns)
{
    const struct shape shape = { .rank = 3, .box = { (cuuint32_t)box_columns, 1, (cuuint32_t)matrix->box_rows },
                                 .sizes = { (cuuint64_t)matrix->columns, (cuuint64_t)heads, (cuuint64_t)matrix->rows },
                                 .strides = { (cuuint64_t)matrix->columns * 2, matrix->stride } };
    return make(facts, map, matrix, &shape);
}
