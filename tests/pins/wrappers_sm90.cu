/* One tiny kernel for each wrapper of kernels/cuda/instructions.cuh: WRAPPER(a) and WRAPPER(a__more) hold the function a and next
 * to nothing else. What the disassembler has to say of each is in wrappers.tsv; wrappers.py compares, and names a wrapper that has
 * no kernel here. Nothing runs them: what they compute is nothing, and their addresses are whatever `io` holds.
 */
#include "kernels/cuda/sm90.cuh"

#define WRAPPER(name) extern "C" __global__ void wrapper_##name(uint32_t *io, const __grid_constant__ CUtensorMap map)
/* setmaxnreg is left out of kernels whose count of threads the assembler does not know. */
#define WRAPPER_OF_WARPGROUPS(name) extern "C" __global__ void __launch_bounds__(384, 1) wrapper_##name(uint32_t *io)

template <int N> DEVICE void keep(uint32_t *io, const uint32_t (&values)[N])
{
    for (int i = 0; i < N; i++)
        io[i] = values[i];
}
template <int N> DEVICE void keep(uint32_t *io, const float (&values)[N])
{
    for (int i = 0; i < N; i++)
        io[i] = __float_as_uint(values[i]);
}
DEVICE float  in_float(const uint32_t *io, int i) { return __uint_as_float(io[i]); }
DEVICE uint64_t in_wide(const uint32_t *io, int i) { return (uint64_t)io[i] << 32 | io[i + 1]; }

/* ---- values, warps ---- */

WRAPPER(exp2_approximate) { io[0] = __float_as_uint(exp2_approximate(in_float(io, 0))); }
WRAPPER(tanh_approximate) { io[0] = __float_as_uint(tanh_approximate(in_float(io, 0))); }
WRAPPER(convert_e4m3x2) { io[0] = convert_e4m3x2(in_float(io, 0), in_float(io, 1)); }
WRAPPER(load_once)
{
    const uint4 v = load_once(io);
    io[4] = v.x + v.y + v.z + v.w;
}
WRAPPER(warp_max_u32) { io[threadIdx.x] = warp_max_u32(io[threadIdx.x]); }
WRAPPER(warp_min_u32) { io[threadIdx.x] = warp_min_u32(io[threadIdx.x]); }
WRAPPER(warp_add_u32) { io[threadIdx.x] = warp_add_u32(io[threadIdx.x]); }
WRAPPER(elect_one)
{
    if (elect_one())
        io[0] = 1;
}
WRAPPER(warpgroup_index) { io[threadIdx.x] = (uint32_t)warpgroup_index(); }
WRAPPER(shared_address)
{
    SHARED_ARRAY(uint32_t, place, 8);
    place[threadIdx.x] = io[threadIdx.x];
    __syncthreads();  /* keeps the array */
    io[0] = shared_address(&place[io[1]]);
}

#define LDMATRIX(name, n)      \
    WRAPPER(name)              \
    {                          \
        uint32_t r[n];         \
        name(r, io[0]);        \
        keep(io, r);           \
    }
LDMATRIX(ldmatrix_x1, 1)
LDMATRIX(ldmatrix_x2, 2)
LDMATRIX(ldmatrix_x2_trans, 2)
LDMATRIX(ldmatrix_x4, 4)
LDMATRIX(ldmatrix_x4_trans, 4)
#define FOUR(name, io, at) const uint32_t name[4] = { io[at], io[at + 1], io[at + 2], io[at + 3] }
WRAPPER(stmatrix_x4)
{
    FOUR(r, io, 1);
    stmatrix_x4(io[0], r);
}
WRAPPER(stmatrix_x4_trans)
{
    FOUR(r, io, 1);
    stmatrix_x4_trans(io[0], r);
}
#define MMA(name, T)                             \
    WRAPPER(name)                                \
    {                                            \
        FOUR(a, io, 4);                          \
        float d[4] = {};                         \
        mma_m16n8k16<T>(d, a, io[0], io[1]);     \
        keep(io, d);                             \
    }
MMA(mma_m16n8k16__bf16, __nv_bfloat16)
MMA(mma_m16n8k16__f16, __half)

/* ---- barriers and copies ---- */

WRAPPER(named_barrier_sync) { named_barrier_sync<3, 64>(); }
WRAPPER(named_barrier_arrive) { named_barrier_arrive<3, 64>(); }
WRAPPER(cp_async__16) { cp_async<16>(io[0], io + 4); }
WRAPPER(cp_async__8) { cp_async<8>(io[0], io + 4); }
WRAPPER(cp_async__4) { cp_async<4>(io[0], io + 4); }
WRAPPER(cp_async__zeros) { cp_async<16>(io[0], io + 4, io[1] != 0); }
WRAPPER(cp_async_part) { cp_async_part(io[0], io + 4, (int)io[1]); }
WRAPPER(cp_async_commit) { cp_async_commit(); }
WRAPPER(cp_async_wait) { cp_async_wait<2>(); }
WRAPPER(cp_async_wait_all) { cp_async_wait_all(); }
WRAPPER(cp_async_arrive) { cp_async_arrive(io[0]); }
WRAPPER(mbarrier_init) { mbarrier_init(io[0], 7); }
WRAPPER(mbarrier_invalidate) { mbarrier_invalidate(io[0]); }
WRAPPER(mbarrier_arrive) { mbarrier_arrive(io[0]); }
WRAPPER(mbarrier_arrive_expect) { mbarrier_arrive_expect(io[0], io[1]); }
WRAPPER(mbarrier_expect) { mbarrier_expect(io[0], io[1]); }
WRAPPER(mbarrier_try_wait) { io[2] = mbarrier_try_wait(io[0], io[1]); }
WRAPPER(mbarrier_wait) { mbarrier_wait(io[0], io[1]); }
WRAPPER(mbarrier_arrive_remote) { mbarrier_arrive_remote(io[0]); }
WRAPPER(mbarrier_arrive_remote_block) { mbarrier_arrive_remote_block(io[0]); }
WRAPPER(fence_mbarrier_init) { fence_mbarrier_init(); }
WRAPPER(fence_proxy_async) { fence_proxy_async(); }
WRAPPER(tensor_map_prefetch) { tensor_map_prefetch(&map); }
WRAPPER(tma_load_2d) { tma_load_2d(io[0], &map, io[1], (int)io[2], (int)io[3]); }
WRAPPER(tma_load_3d) { tma_load_3d(io[0], &map, io[1], (int)io[2], (int)io[3], (int)io[4]); }
WRAPPER(tma_load_4d) { tma_load_4d(io[0], &map, io[1], (int)io[2], (int)io[3], (int)io[4], (int)io[5]); }
WRAPPER(tma_load_2d_multicast) { tma_load_2d_multicast(io[0], &map, io[1], (int)io[2], (int)io[3], (uint16_t)io[4]); }
WRAPPER(tma_load_2d_policy) { tma_load_2d_policy(io[0], &map, io[1], (int)io[2], (int)io[3], in_wide(io, 4)); }
WRAPPER(policy_evict_first) { io[0] = (uint32_t)(policy_evict_first() >> 32); }
WRAPPER(policy_evict_last) { io[0] = (uint32_t)(policy_evict_last() >> 32); }
WRAPPER(tma_store_2d) { tma_store_2d(&map, io[0], (int)io[2], (int)io[3]); }
WRAPPER(tma_store_3d) { tma_store_3d(&map, io[0], (int)io[2], (int)io[3], (int)io[4]); }
WRAPPER(bulk_load) { bulk_load(io[0], io, io[1], io[2]); }
WRAPPER(bulk_store) { bulk_store(io, io[0], io[1]); }
WRAPPER(bulk_prefetch) { bulk_prefetch(io, io[1]); }
WRAPPER(bulk_commit) { bulk_commit(); }
WRAPPER(bulk_wait) { bulk_wait<3>(); }
WRAPPER(bulk_wait_read) { bulk_wait_read<3>(); }

/* ---- clusters, launches that overlap ---- */

WRAPPER(cluster_rank) { io[0] = cluster_rank(); }
WRAPPER(cluster_size) { io[0] = cluster_size(); }
WRAPPER(cluster_arrive) { cluster_arrive(); }
WRAPPER(cluster_arrive_relaxed) { cluster_arrive_relaxed(); }
WRAPPER(cluster_wait) { cluster_wait(); }
WRAPPER(cluster_address) { io[0] = cluster_address(io[0], io[1]); }
WRAPPER(cluster_load) { io[0] = cluster_load(io[0]); }
WRAPPER(cluster_store) { cluster_store(io[0], io[1]); }
WRAPPER(cluster_store_async) { cluster_store_async(io[0], io[1], io[2]); }
WRAPPER(launch_wait) { launch_wait(); }
WRAPPER(launch_dependents) { launch_dependents(); }

/* ---- warpgroups ---- */

WRAPPER_OF_WARPGROUPS(registers_raise)
{
    registers_raise<240>();
    io[0] = 1;
}
WRAPPER_OF_WARPGROUPS(registers_lower)
{
    registers_lower<40>();
    io[0] = 1;
}
WRAPPER(wgmma_fence) { wgmma_fence(); }
WRAPPER(wgmma_commit) { wgmma_commit(); }
WRAPPER(wgmma_wait) { wgmma_wait<1>(); }
WRAPPER(wgmma_settle)
{
    float d[2] = { in_float(io, 0), in_float(io, 1) };
    wgmma_settle(d);
    keep(io, d);
}

/* R sums a thread; `product` adds to d. */
#define PRODUCT(name, R, product)                       \
    WRAPPER(name)                                       \
    {                                                   \
        FOUR(a_registers, io, 700);                     \
        const uint64_t a = in_wide(io, 600), b = in_wide(io, 602); \
        float          d[R];                            \
        for (int i = 0; i < R; i++)                     \
            d[i] = in_float(io, i);                     \
        wgmma_fence();                                  \
        product;                                        \
        wgmma_commit();                                 \
        wgmma_wait<0>();                                \
        wgmma_settle(d);                                \
        keep(io, d);                                    \
        io[800] = a_registers[0] + (uint32_t)a;         \
    }
#define SHAPE(N, R)                                                                          \
    PRODUCT(wgmma_ss__##N##_bf16, R, (wgmma_ss<__nv_bfloat16>(d, a, b, 1)))                  \
    PRODUCT(wgmma_ss__##N##_f16, R, (wgmma_ss<__half>(d, a, b, 1)))                          \
    PRODUCT(wgmma_rs__##N##_bf16, R, (wgmma_rs<__nv_bfloat16>(d, a_registers, b, 1)))        \
    PRODUCT(wgmma_rs__##N##_f16, R, (wgmma_rs<__half>(d, a_registers, b, 1)))                \
    PRODUCT(wgmma_ss_e4m3__##N, R, wgmma_ss_e4m3(d, a, b, 1))                                \
    PRODUCT(wgmma_rs_e4m3__##N, R, wgmma_rs_e4m3(d, a_registers, b, 1))
SHAPE(16, 8)
SHAPE(32, 16)
SHAPE(48, 24)
SHAPE(64, 32)
SHAPE(80, 40)
SHAPE(96, 48)
SHAPE(112, 56)
SHAPE(128, 64)
SHAPE(144, 72)
SHAPE(160, 80)
SHAPE(176, 88)
SHAPE(192, 96)
SHAPE(208, 104)
SHAPE(224, 112)
SHAPE(240, 120)
SHAPE(256, 128)
PRODUCT(wgmma_ss__first, 32, (wgmma_ss<__nv_bfloat16>(d, a, b, 0)))
PRODUCT(wgmma_ss__transpose_a, 32, (wgmma_ss<__nv_bfloat16, 1, 0>(d, a, b, 1)))
PRODUCT(wgmma_ss__transpose_b, 32, (wgmma_ss<__nv_bfloat16, 0, 1>(d, a, b, 1)))
PRODUCT(wgmma_rs__transpose_b, 32, (wgmma_rs<__nv_bfloat16, 1>(d, a_registers, b, 1)))
