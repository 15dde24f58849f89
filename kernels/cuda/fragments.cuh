/* fragments.cuh: where elements of matrices lie: in the registers of a warp, in swizzled shared memory, in descriptors.
 *
 * mma.m16n8k16, one warp: a thread holds A in 4 registers of two halves, B in 2, C and D in 4 floats.
 *   A [16, 16]: register i holds columns c and c + 1 of row r;   B [16, 8]: register i holds rows k and k + 1 of column n
 *   C [16, 8]:  element i
 * wgmma m64nNk16, one warpgroup: D [64, N] as N/8 tiles of C side by side; warp w has rows 16 w to 16 w + 15. A in registers
 * is laid out as mma's A within each warp.
 */
#ifndef RECTO_KERNELS_CUDA_FRAGMENTS_CUH
#define RECTO_KERNELS_CUDA_FRAGMENTS_CUH

#include "kernels/cuda/device.cuh"

#define FRAGMENT __host__ __device__ constexpr inline

FRAGMENT int fragment_a_row(int lane, int i) { return lane / 4 + (i & 1) * 8; }
FRAGMENT int fragment_a_column(int lane, int i) { return lane % 4 * 2 + (i >> 1) * 8; }
FRAGMENT int fragment_b_row(int lane, int i) { return lane % 4 * 2 + i * 8; }
FRAGMENT int fragment_b_column(int lane) { return lane / 4; }
FRAGMENT int fragment_c_row(int lane, int i) { return lane / 4 + (i >> 1) * 8; }
FRAGMENT int fragment_c_column(int lane, int i) { return lane % 4 * 2 + (i & 1); }

/* thread: 0..127 within the warpgroup; i: 0..N/2 - 1 of the accumulator. */
FRAGMENT int wgmma_d_row(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + (i >> 1 & 1) * 8; }
FRAGMENT int wgmma_d_column(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + (i & 1); }

/* ldmatrix and stmatrix take the address of row lane % 8 of matrix lane / 8. For a 16 x 16 block of A, rows by rows: matrices
 * 0 and 1 are the upper and lower left halves, 2 and 3 the right ones, which is the order of A's registers. Loaded with
 * .trans the same addresses of a [k, n] block give B's registers: 0 and 1 for columns 0 to 7, 2 and 3 for columns 8 to 15. */
FRAGMENT int ldmatrix_a_row(int lane) { return lane % 16; }
FRAGMENT int ldmatrix_a_column(int lane) { return lane / 16 * 8; }
/* For a 16 x 16 block of B kept as [n, k]: registers 0 and 1 for n 0 to 7, 2 and 3 for n 8 to 15. */
FRAGMENT int ldmatrix_b_row(int lane) { return lane % 8 + lane / 16 * 8; }
FRAGMENT int ldmatrix_b_column(int lane) { return lane / 8 % 2 * 8; }

/* Byte offset of 16-byte chunk `chunk` of row `row` in a tile of rows of 128, 64 or 32 bytes, swizzled as TMA, wgmma and
 * ldmatrix without bank conflicts want it. The tile starts at a multiple of 8 rows' bytes. */
FRAGMENT uint32_t swizzle_128(int row, int chunk) { return (uint32_t)(row * 128 + ((chunk ^ (row & 7)) * 16)); }
FRAGMENT uint32_t swizzle_64(int row, int chunk) { return (uint32_t)(row * 64 + ((chunk ^ (row >> 1 & 3)) * 16)); }
FRAGMENT uint32_t swizzle_32(int row, int chunk) { return (uint32_t)(row * 32 + ((chunk ^ (row >> 2 & 1)) * 16)); }

/* Descriptor of a wgmma operand in shared memory, 128-byte swizzle, 16-bit elements.
 *   K-major (rows of 64 elements along k): stride 1024 bytes between groups of 8 rows, leading unused (16);
 *           the next 16 of k: + 32 bytes
 *   MN-major (rows of 64 elements along m or n; transpose flag 1): stride 1024 bytes between groups of 8 k, leading: bytes
 *           between blocks of 64 elements along m or n; the next 16 of k: + 2048 bytes
 * Another start in the same tile: add bytes / 16 to the descriptor. */
FRAGMENT uint64_t wgmma_descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes, int swizzle)
{
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)(leading_bytes >> 4 & 0x3fff) << 16 |
           (uint64_t)(stride_bytes >> 4 & 0x3fff) << 32 | (uint64_t)swizzle << 62;
}
constexpr int wgmma_swizzle_none = 0, wgmma_swizzle_128 = 1, wgmma_swizzle_64 = 2, wgmma_swizzle_32 = 3;

#endif
