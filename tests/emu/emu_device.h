/* emu_device.h: what kernels call while they are emulated: the C functions behind the intrinsics and the twins.
 *
 * Every function takes the site of its call, so that a report names the line of the kernel. Shared addresses are those of
 * the device: 32 bits, the block's rank in its cluster in the upper byte, the offset in the block's shared memory below.
 */
#ifndef EMU_DEVICE_H
#define EMU_DEVICE_H

#include "emu_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct emu_site {
    const char *file;
    int         line;
};

struct emu_thread {
    uint3 thread_index, block_index;
    dim3  block_size, grid_size;
    int   linear, lane, warp;
};
extern __thread struct emu_thread *emu_current;

__attribute__((noreturn, format(printf, 2, 3))) void emu_fail(struct emu_site site, const char *format, ...);

/* ---- warps: every call is a rendezvous of the lanes in `mask` ---- */
enum emu_reduction { EMU_ADD_U32, EMU_MIN_U32, EMU_MAX_U32, EMU_MIN_S32, EMU_MAX_S32, EMU_AND, EMU_OR, EMU_XOR };
void     emu_syncwarp(uint32_t mask, struct emu_site site);
uint64_t emu_shuffle(uint32_t mask, uint64_t value, int source_lane, struct emu_site site);
uint32_t emu_ballot(uint32_t mask, bool predicate, struct emu_site site);
uint32_t emu_reduce(uint32_t mask, uint32_t value, enum emu_reduction kind, struct emu_site site);
uint32_t emu_match(uint32_t mask, uint64_t value, struct emu_site site);
bool     emu_elect(uint32_t mask, struct emu_site site);
uint32_t emu_active(void);

/* ---- blocks and clusters ---- */
enum emu_vote { EMU_COUNT, EMU_ALL, EMU_ANY_OF };
void     emu_barrier(int id, int threads, struct emu_site site);  /* threads < 0: all of the block */
void     emu_barrier_arrive(int id, int threads, struct emu_site site);
int      emu_barrier_vote(bool predicate, enum emu_vote kind, struct emu_site site);
void     emu_cluster_arrive(bool release, struct emu_site site);
void     emu_cluster_wait(struct emu_site site);
uint32_t emu_cluster_rank(void);
uint32_t emu_cluster_size(void);
uint32_t emu_cluster_address(uint32_t address, uint32_t rank, struct emu_site site);
uint32_t emu_cluster_load(uint32_t address, struct emu_site site);
void     emu_cluster_store(uint32_t address, uint32_t value, struct emu_site site);
void     emu_cluster_arrive_at(uint32_t barrier, struct emu_site site);
void     emu_cluster_store_async(uint32_t address, uint32_t value, uint32_t barrier, struct emu_site site);
void     emu_yield(struct emu_site site);
void     emu_fence_device(void);
void     emu_registers(int count, bool raise, struct emu_site site);

/* ---- shared memory ---- */
void    *emu_shared_static(const void *key, size_t bytes, size_t alignment, struct emu_site site);
void    *emu_shared_dynamic(size_t alignment, struct emu_site site);
uint32_t emu_shared_address(const void *pointer, struct emu_site site);

/* ---- asynchronous copies ---- */
void emu_cp_async(uint32_t to, const void *from, int bytes, int source_bytes, struct emu_site site);
void emu_cp_async_commit(struct emu_site site);
void emu_cp_async_wait(int groups_left, struct emu_site site);  /* < 0: everything, committed or not */
void emu_cp_async_arrive(uint32_t barrier, struct emu_site site);
void emu_mbarrier_init(uint32_t barrier, uint32_t count, struct emu_site site);
void emu_mbarrier_invalidate(uint32_t barrier, struct emu_site site);
void emu_mbarrier_arrive(uint32_t barrier, uint32_t arrivals, uint32_t expect_bytes, struct emu_site site);
bool emu_mbarrier_test(uint32_t barrier, uint32_t parity, struct emu_site site);
void emu_mbarrier_wait(uint32_t barrier, uint32_t parity, struct emu_site site);
void emu_fence_mbarrier_init(void);
void emu_fence_proxy_async(void);

struct emu_tma {
    const CUtensorMap *map;
    uint32_t           shared, barrier;
    int                rank, at[5];
    uint32_t           ranks;  /* of the cluster, by bits, that a load goes to; 0: the own block */
};
void emu_tma_load(const struct emu_tma *tma, struct emu_site site);
void emu_tma_store(const struct emu_tma *tma, struct emu_site site);
void emu_bulk_load(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier, struct emu_site site);
void emu_bulk_store(void *to, uint32_t from, uint32_t bytes, struct emu_site site);
void emu_bulk_prefetch(const void *from, uint32_t bytes, struct emu_site site);
void emu_bulk_commit(struct emu_site site);
void emu_bulk_wait(int groups_left, bool read, struct emu_site site);
void emu_map_prefetch(const CUtensorMap *map, struct emu_site site);

/* ---- matrices ---- */
enum emu_element { EMU_BF16, EMU_F16, EMU_E4M3 };
void emu_ldmatrix(uint32_t *to, uint32_t address, int matrices, bool transpose, struct emu_site site);
void emu_stmatrix(const uint32_t *from, uint32_t address, int matrices, bool transpose, struct emu_site site);
void emu_mma(float *d, const uint32_t *a, const uint32_t *b, enum emu_element type, struct emu_site site);

struct emu_wgmma {
    float           *d;            /* [n / 2] of this thread */
    const uint32_t  *a_registers;  /* [4] of this thread, or null: a is a descriptor */
    uint64_t         a, b;
    int              n;
    enum emu_element type;
    bool             accumulate, transpose_a, transpose_b;
};
void emu_wgmma(const struct emu_wgmma *product, struct emu_site site);
void emu_wgmma_fence(struct emu_site site);
void emu_wgmma_commit(struct emu_site site);
void emu_wgmma_wait(int groups_left, struct emu_site site);

/* ---- single values ---- */
float    emu_from_f16(uint16_t bits);
uint16_t emu_to_f16(float value);
float    emu_from_e4m3(uint8_t bits);
uint8_t  emu_to_e4m3(float value);
float    emu_exp2(float x);
float    emu_tanh(float x);
void     emu_global_load(const void *from, size_t bytes, struct emu_site site);

#ifdef __cplusplus
}
#endif
#endif
