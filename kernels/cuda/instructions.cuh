/* instructions.cuh: every PTX instruction that the kernels use, one a function; assembly occurs nowhere else.
 *
 * Under the emulator each function has a twin of the same signature in instructions_emu.inl; the conformance cases run both.
 * "shared" parameters are 32-bit addresses in shared memory (shared_address); a barrier is the address of an 8-byte mbarrier.
 * What needs sm_80 traps when it is built for less: such targets compile, and kernels_cuda has no table for their devices. What
 * needs sm_90 does not assemble for less; what needs sm_90a traps when it is built for anything else.
 */
#ifndef RECTO_KERNELS_CUDA_INSTRUCTIONS_CUH
#define RECTO_KERNELS_CUDA_INSTRUCTIONS_CUH

#include "kernels/cuda/device.cuh"

#ifdef RECTO_EMULATED

#include <instructions_emu.inl>

#else

#if __CUDA_ARCH__ >= 800
#define SM80(...) asm volatile(__VA_ARGS__)
#else
#define SM80(...) __trap()
#endif

DEVICE uint32_t shared_address(const void *pointer) { return (uint32_t)__cvta_generic_to_shared(pointer); }

/* ---- values; sm_80 ---- */

/* 2^x, relative error 2^-22, denormals flushed. */
DEVICE float exp2_approximate(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Relative error 2^-11. */
DEVICE float tanh_approximate(float x)
{
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Two floats as e4m3, the first in the low byte, out of range: the largest; sm_89. */
DEVICE uint16_t convert_e4m3x2(float low, float high)
{
    uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    return pair;
}

/* 16 bytes that are read once: past the first-level cache. */
DEVICE uint4 load_once(const void *from)
{
    uint4 v = {};
    SM80("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
         : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

/* ---- the whole warp together; sm_80, elect_one and stmatrix sm_90 ---- */

DEVICE uint32_t warp_max_u32(uint32_t value)
{
    uint32_t result = 0;
    SM80("redux.sync.max.u32 %0, %1, 0xffffffff;" : "=r"(result) : "r"(value));
    return result;
}

DEVICE uint32_t warp_min_u32(uint32_t value)
{
    uint32_t result = 0;
    SM80("redux.sync.min.u32 %0, %1, 0xffffffff;" : "=r"(result) : "r"(value));
    return result;
}

DEVICE uint32_t warp_add_u32(uint32_t value)
{
    uint32_t result = 0;
    SM80("redux.sync.add.u32 %0, %1, 0xffffffff;" : "=r"(result) : "r"(value));
    return result;
}

/* True in one lane of a whole warp, always the same one. */
DEVICE bool elect_one()
{
    uint32_t elected;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.b32 %0, 1, 0, p;\n}" : "=r"(elected));
    return elected != 0;
}

/* threadIdx.x / 128 in a way that lets the compiler see that it is the same in the whole warp. */
DEVICE int warpgroup_index() { return __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0); }

DEVICE void ldmatrix_x1(uint32_t (&r)[1], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared) : "memory");
}

DEVICE void ldmatrix_x2(uint32_t (&r)[2], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared) : "memory");
}

DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared) : "memory");
}

DEVICE void ldmatrix_x4(uint32_t (&r)[4], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared) : "memory");
}

DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t shared)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared) : "memory");
}

DEVICE void stmatrix_x4(uint32_t shared, const uint32_t (&r)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
                 ::"r"(shared), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

DEVICE void stmatrix_x4_trans(uint32_t shared, const uint32_t (&r)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};"
                 ::"r"(shared), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

/* d += a b, [16, 16] times [16, 8]; layouts in fragments.cuh. T: __nv_bfloat16 or __half. */
template <class T> DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    if constexpr (element_is_bf16<T>)
        SM80("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        SM80("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* ---- barriers 1 to 15 of a block; ID a constant, or the block takes all sixteen ---- */

template <int ID, int THREADS> DEVICE void named_barrier_sync()
{
    asm volatile("bar.sync %0, %1;" ::"n"(ID), "n"(THREADS) : "memory");
}

template <int ID, int THREADS> DEVICE void named_barrier_arrive()
{
    asm volatile("bar.arrive %0, %1;" ::"n"(ID), "n"(THREADS) : "memory");
}

/* ---- cp.async; sm_80 ---- */

/* BYTES (4, 8 or 16) from global to shared memory; when not valid, zeros, and `from` is not read. */
template <int BYTES> DEVICE void cp_async(uint32_t shared, const void *from, bool valid = true)
{
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async moves 4, 8 or 16 bytes");
    if constexpr (BYTES == 16)
        SM80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(valid ? BYTES : 0) : "memory");
    else
        SM80("cp.async.ca.shared.global [%0], [%1], %2, %3;"
             ::"r"(shared), "l"(from), "n"(BYTES), "r"(valid ? BYTES : 0) : "memory");
}

/* 16 bytes of which the first `bytes`, 0 to 16, are read and the rest become zeros. */
DEVICE void cp_async_part(uint32_t shared, const void *from, int bytes)
{
    SM80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes) : "memory");
}

DEVICE void cp_async_commit() { SM80("cp.async.commit_group;" ::: "memory"); }

/* Until at most GROUPS of this thread's groups are in flight. */
template <int GROUPS> DEVICE void cp_async_wait() { SM80("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory"); }

DEVICE void cp_async_wait_all() { SM80("cp.async.wait_all;" ::: "memory"); }

/* Arrives at the barrier once this thread's copies so far have landed; counts as one of the arrivals that it was made for. */
DEVICE void cp_async_arrive(uint32_t barrier)
{
    SM80("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/* ---- mbarriers; sm_90 ---- */

DEVICE void mbarrier_init(uint32_t barrier, uint32_t arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

DEVICE void mbarrier_invalidate(uint32_t barrier)
{
    asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

DEVICE void mbarrier_arrive(uint32_t barrier)
{
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}

/* Arrives, and adds `bytes` to what copies must bring before the phase ends. */
DEVICE void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}"
                 ::"r"(barrier), "r"(bytes) : "memory");
}

/* Adds bytes without arriving. */
DEVICE void mbarrier_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/* Whether the phase of this parity has ended; may wait a while for it. */
DEVICE bool mbarrier_try_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t ended;
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}"
                 : "=r"(ended) : "r"(barrier), "r"(parity) : "memory");
    return ended != 0;
}

DEVICE void mbarrier_wait(uint32_t barrier, uint32_t parity)
{
    while (!mbarrier_try_wait(barrier, parity))
        ;
}

/* Arrives at the barrier of another block of the cluster: an address of cluster_address. */
DEVICE void mbarrier_arrive_remote(uint32_t cluster_barrier)
{
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(cluster_barrier) : "memory");
}

/* The same, with nothing but the own block ordered before it, and so without a fence of the whole device: enough where the other
 * block waits for shared memory that wgmma read, and wgmma_wait has seen the end of that. */
DEVICE void mbarrier_arrive_remote_block(uint32_t cluster_barrier)
{
    asm volatile("mbarrier.arrive.release.cta.shared::cluster.b64 _, [%0];" ::"r"(cluster_barrier) : "memory");
}

/* Orders the initialisations of barriers by this thread before their use by copies and by other blocks. */
DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/* Orders this thread's ordinary accesses to shared memory before later ones of TMA and wgmma. */
DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* ---- TMA; sm_90. Tensor maps are __grid_constant__ parameters; coordinates innermost first ---- */

DEVICE void tensor_map_prefetch(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"((uint64_t)map) : "memory");
}

DEVICE void tma_load_2d(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(shared), "l"((uint64_t)map), "r"(barrier), "r"(x), "r"(y) : "memory");
}

DEVICE void tma_load_3d(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, int z)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(shared), "l"((uint64_t)map), "r"(barrier), "r"(x), "r"(y), "r"(z) : "memory");
}

DEVICE void tma_load_4d(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, int z, int w)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
        ::"r"(shared), "l"((uint64_t)map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}

/* To the same place in every block of the cluster whose bit is set in `ranks`; each of their barriers gets the bytes. */
DEVICE void tma_load_2d_multicast(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, uint16_t ranks)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%3, %4}], [%2], %5;"
                 ::"r"(shared), "l"((uint64_t)map), "r"(barrier), "r"(x), "r"(y), "h"(ranks) : "memory");
}

/* With a policy of policy_evict_first or policy_evict_last for the second-level cache. */
DEVICE void tma_load_2d_policy(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
                 " [%0], [%1, {%3, %4}], [%2], %5;"
                 ::"r"(shared), "l"((uint64_t)map), "r"(barrier), "r"(x), "r"(y), "l"(policy) : "memory");
}

DEVICE uint64_t policy_evict_first()
{
    uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

DEVICE uint64_t policy_evict_last()
{
    uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

DEVICE void tma_store_2d(const CUtensorMap *map, uint32_t shared, int x, int y)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
                 ::"l"((uint64_t)map), "r"(shared), "r"(x), "r"(y) : "memory");
}

DEVICE void tma_store_3d(const CUtensorMap *map, uint32_t shared, int x, int y, int z)
{
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];"
                 ::"l"((uint64_t)map), "r"(shared), "r"(x), "r"(y), "r"(z) : "memory");
}

/* Bytes in a row, a multiple of 16, both ends aligned to 16. */
DEVICE void bulk_load(uint32_t shared, const void *from, uint32_t bytes, uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(shared), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}

DEVICE void bulk_store(void *to, uint32_t shared, uint32_t bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared), "r"(bytes) : "memory");
}

DEVICE void bulk_prefetch(const void *from, uint32_t bytes)
{
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/* Until at most GROUPS of this thread's groups of stores are not done. */
template <int GROUPS> DEVICE void bulk_wait() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(GROUPS) : "memory"); }

/* The same, but only until shared memory has been read and may be written again. */
template <int GROUPS> DEVICE void bulk_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(GROUPS) : "memory");
}

/* ---- clusters; sm_90 ---- */

DEVICE uint32_t cluster_rank()
{
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

DEVICE uint32_t cluster_size()
{
    uint32_t size;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return size;
}

/* Every thread of the cluster arrives, then waits; what it did to memory before is seen after the wait. */
DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEVICE void cluster_arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

/* The address of the same place in the shared memory of block `rank` of the cluster. */
DEVICE uint32_t cluster_address(uint32_t shared, uint32_t rank)
{
    uint32_t address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared), "r"(rank));
    return address;
}

DEVICE uint32_t cluster_load(uint32_t address)
{
    uint32_t value;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
}

DEVICE void cluster_store(uint32_t address, uint32_t value)
{
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

/* Lands later, and brings its 4 bytes to a barrier of the same block as `address`: whoever waits there sees it. */
DEVICE void cluster_store_async(uint32_t address, uint32_t value, uint32_t cluster_barrier)
{
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];"
                 ::"r"(address), "r"(value), "r"(cluster_barrier) : "memory");
}

/* ---- launches that overlap; sm_90 ---- */

/* Nothing of the launch before may be read earlier than this. */
DEVICE void launch_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
/* The next launch may start its prologue. */
DEVICE void launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

/* ---- registers of a warpgroup; sm_90a ---- */

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define SM90A(...) asm volatile(__VA_ARGS__)
#else
#define SM90A(...) __trap()
#endif

/* COUNT registers a thread from here on: a multiple of 8, 24 to 240; waits until the block's pool has them. */
template <int COUNT> DEVICE void registers_raise()
{
    static_assert(COUNT % 8 == 0 && COUNT >= 24 && COUNT <= 256, "a multiple of 8 from 24 to 256");
    SM90A("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <int COUNT> DEVICE void registers_lower()
{
    static_assert(COUNT % 8 == 0 && COUNT >= 24 && COUNT <= 256, "a multiple of 8 from 24 to 256");
    SM90A("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

/* ---- wgmma; sm_90a ---- */

/* Before the first product, and whenever ordinary code wrote registers that a product will read. */
DEVICE void wgmma_fence() { SM90A("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { SM90A("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* Until at most GROUPS groups are in flight. */
template <int GROUPS> DEVICE void wgmma_wait() { SM90A("wgmma.wait_group.sync.aligned %0;" ::"n"(GROUPS) : "memory"); }

/* After the wait, over accumulators and over A in registers: keeps the compiler from moving their uses above it. */
template <int N> DEVICE void wgmma_settle(float (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+f"(d[i])::"memory");
}
template <int N> DEVICE void wgmma_settle(uint32_t (&a)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+r"(a[i])::"memory");
}

/* d [64, N] = a b + d, or a b when not `accumulate`; N is twice the length of d, a multiple of 16 up to 256.
 *
 *   wgmma_ss<T, TRANSPOSE_A, TRANSPOSE_B>   a [64, 16] and b [16, N] by descriptors (fragments.cuh); 1: MN-major
 *   wgmma_rs<T, TRANSPOSE_B>                a in registers
 *   wgmma_ss_e4m3, wgmma_rs_e4m3            the same over 32 of k in fp8, both K-major
 * T: __nv_bfloat16 or __half. */
#define WGMMA_8(i) \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define WGMMA_R8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define WGMMA_R16 WGMMA_R8 "," "%8,%9,%10,%11,%12,%13,%14,%15"
#define WGMMA_R24 WGMMA_R16 "," "%16,%17,%18,%19,%20,%21,%22,%23"
#define WGMMA_R32 WGMMA_R24 "," "%24,%25,%26,%27,%28,%29,%30,%31"
#define WGMMA_R40 WGMMA_R32 "," "%32,%33,%34,%35,%36,%37,%38,%39"
#define WGMMA_R48 WGMMA_R40 "," "%40,%41,%42,%43,%44,%45,%46,%47"
#define WGMMA_R56 WGMMA_R48 "," "%48,%49,%50,%51,%52,%53,%54,%55"
#define WGMMA_R64 WGMMA_R56 "," "%56,%57,%58,%59,%60,%61,%62,%63"
#define WGMMA_R72 WGMMA_R64 "," "%64,%65,%66,%67,%68,%69,%70,%71"
#define WGMMA_R80 WGMMA_R72 "," "%72,%73,%74,%75,%76,%77,%78,%79"
#define WGMMA_R88 WGMMA_R80 "," "%80,%81,%82,%83,%84,%85,%86,%87"
#define WGMMA_R96 WGMMA_R88 "," "%88,%89,%90,%91,%92,%93,%94,%95"
#define WGMMA_R104 WGMMA_R96 "," "%96,%97,%98,%99,%100,%101,%102,%103"
#define WGMMA_R112 WGMMA_R104 "," "%104,%105,%106,%107,%108,%109,%110,%111"
#define WGMMA_R120 WGMMA_R112 "," "%112,%113,%114,%115,%116,%117,%118,%119"
#define WGMMA_R128 WGMMA_R120 "," "%120,%121,%122,%123,%124,%125,%126,%127"
#define WGMMA_D8 WGMMA_8(0)
#define WGMMA_D16 WGMMA_D8, WGMMA_8(8)
#define WGMMA_D24 WGMMA_D16, WGMMA_8(16)
#define WGMMA_D32 WGMMA_D24, WGMMA_8(24)
#define WGMMA_D40 WGMMA_D32, WGMMA_8(32)
#define WGMMA_D48 WGMMA_D40, WGMMA_8(40)
#define WGMMA_D56 WGMMA_D48, WGMMA_8(48)
#define WGMMA_D64 WGMMA_D56, WGMMA_8(56)
#define WGMMA_D72 WGMMA_D64, WGMMA_8(64)
#define WGMMA_D80 WGMMA_D72, WGMMA_8(72)
#define WGMMA_D88 WGMMA_D80, WGMMA_8(80)
#define WGMMA_D96 WGMMA_D88, WGMMA_8(88)
#define WGMMA_D104 WGMMA_D96, WGMMA_8(96)
#define WGMMA_D112 WGMMA_D104, WGMMA_8(104)
#define WGMMA_D120 WGMMA_D112, WGMMA_8(112)
#define WGMMA_D128 WGMMA_D120, WGMMA_8(120)

#define WGMMA_TEXT(shape, registers, a, b, accumulate, rest)                                                                 \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " accumulate ", 0;\nwgmma.mma_async.sync.aligned." shape " {" registers "}, " a ", " b \
    ", p, 1, 1" rest ";\n}\n"

/* R: N / 2. o0 to o6: the names of the operands after the accumulators. */
#define WGMMA_SHAPE(N, R, o0, o1, o2, o3, o4, o5, o6)                                                                        \
    template <class T, int TRANSPOSE_A = 0, int TRANSPOSE_B = 0>                                                             \
    DEVICE void wgmma_ss(float (&d)[R], uint64_t a, uint64_t b, int accumulate)                                              \
    {                                                                                                                        \
        if constexpr (element_is_bf16<T>)                                                                                    \
            SM90A(WGMMA_TEXT("m64n" #N "k16.f32.bf16.bf16", WGMMA_R##R, o0, o1, o2, ", " o3 ", " o4)                         \
                  : WGMMA_D##R : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSE_A), "n"(TRANSPOSE_B));                       \
        else                                                                                                                 \
            SM90A(WGMMA_TEXT("m64n" #N "k16.f32.f16.f16", WGMMA_R##R, o0, o1, o2, ", " o3 ", " o4)                           \
                  : WGMMA_D##R : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSE_A), "n"(TRANSPOSE_B));                       \
    }                                                                                                                        \
    template <class T, int TRANSPOSE_B = 0>                                                                                  \
    DEVICE void wgmma_rs(float (&d)[R], const uint32_t (&a)[4], uint64_t b, int accumulate)                                  \
    {                                                                                                                        \
        if constexpr (element_is_bf16<T>)                                                                                    \
            SM90A(WGMMA_TEXT("m64n" #N "k16.f32.bf16.bf16", WGMMA_R##R,                                                      \
                             "{" o0 "," o1 "," o2 "," o3 "}", o4, o5, ", " o6)                                               \
                  : WGMMA_D##R : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TRANSPOSE_B));     \
        else                                                                                                                 \
            SM90A(WGMMA_TEXT("m64n" #N "k16.f32.f16.f16", WGMMA_R##R,                                                        \
                             "{" o0 "," o1 "," o2 "," o3 "}", o4, o5, ", " o6)                                               \
                  : WGMMA_D##R : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TRANSPOSE_B));     \
    }                                                                                                                        \
    DEVICE void wgmma_ss_e4m3(float (&d)[R], uint64_t a, uint64_t b, int accumulate)                                         \
    {                                                                                                                        \
        SM90A(WGMMA_TEXT("m64n" #N "k32.f32.e4m3.e4m3", WGMMA_R##R, o0, o1, o2, "")                                          \
              : WGMMA_D##R : "l"(a), "l"(b), "r"(accumulate));                                                               \
    }                                                                                                                        \
    DEVICE void wgmma_rs_e4m3(float (&d)[R], const uint32_t (&a)[4], uint64_t b, int accumulate)                             \
    {                                                                                                                        \
        SM90A(WGMMA_TEXT("m64n" #N "k32.f32.e4m3.e4m3", WGMMA_R##R, "{" o0 "," o1 "," o2 "," o3 "}", o4, o5, "")             \
              : WGMMA_D##R : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                           \
    }

WGMMA_SHAPE(16, 8, "%8", "%9", "%10", "%11", "%12", "%13", "%14")
WGMMA_SHAPE(32, 16, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
WGMMA_SHAPE(48, 24, "%24", "%25", "%26", "%27", "%28", "%29", "%30")
WGMMA_SHAPE(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
WGMMA_SHAPE(80, 40, "%40", "%41", "%42", "%43", "%44", "%45", "%46")
WGMMA_SHAPE(96, 48, "%48", "%49", "%50", "%51", "%52", "%53", "%54")
WGMMA_SHAPE(112, 56, "%56", "%57", "%58", "%59", "%60", "%61", "%62")
WGMMA_SHAPE(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
WGMMA_SHAPE(144, 72, "%72", "%73", "%74", "%75", "%76", "%77", "%78")
WGMMA_SHAPE(160, 80, "%80", "%81", "%82", "%83", "%84", "%85", "%86")
WGMMA_SHAPE(176, 88, "%88", "%89", "%90", "%91", "%92", "%93", "%94")
WGMMA_SHAPE(192, 96, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
WGMMA_SHAPE(208, 104, "%104", "%105", "%106", "%107", "%108", "%109", "%110")
WGMMA_SHAPE(224, 112, "%112", "%113", "%114", "%115", "%116", "%117", "%118")
WGMMA_SHAPE(240, 120, "%120", "%121", "%122", "%123", "%124", "%125", "%126")
WGMMA_SHAPE(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

#endif
#endif
