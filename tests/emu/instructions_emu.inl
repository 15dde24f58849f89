/* instructions_emu.inl: the twins of kernels/cuda/instructions.cuh, one for each function there, with the same signatures.
 *
 * The site that each takes last is filled in by the compiler. What an instruction does to timing alone has an empty twin.
 */

inline uint32_t shared_address(const void *pointer, EMU_SITE) { return emu_shared_address(pointer, site); }

/* ---- values ---- */

inline float exp2_approximate(float x) { return emu_exp2(x); }
inline float tanh_approximate(float x) { return emu_tanh(x); }
inline uint16_t convert_e4m3x2(float low, float high) { return (uint16_t)(emu_to_e4m3(low) | emu_to_e4m3(high) << 8); }
inline uint4 load_once(const void *from, EMU_SITE)
{
    uint4 value;
    if ((uintptr_t)from % 16)
        emu_fail(site, "load_once: address %p is not a multiple of 16", from);
    memcpy(&value, from, sizeof value);
    return value;
}

/* ---- the whole warp together ---- */

inline uint32_t warp_max_u32(uint32_t value, EMU_SITE) { return emu_reduce(~0u, value, EMU_MAX_U32, site); }
inline uint32_t warp_min_u32(uint32_t value, EMU_SITE) { return emu_reduce(~0u, value, EMU_MIN_U32, site); }
inline uint32_t warp_add_u32(uint32_t value, EMU_SITE) { return emu_reduce(~0u, value, EMU_ADD_U32, site); }
inline bool elect_one(EMU_SITE) { return emu_elect(~0u, site); }
inline int warpgroup_index() { return (int)threadIdx.x / 128; }

inline void ldmatrix_x1(uint32_t (&r)[1], uint32_t shared, EMU_SITE) { emu_ldmatrix(r, shared, 1, false, site); }
inline void ldmatrix_x2(uint32_t (&r)[2], uint32_t shared, EMU_SITE) { emu_ldmatrix(r, shared, 2, false, site); }
inline void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t shared, EMU_SITE) { emu_ldmatrix(r, shared, 2, true, site); }
inline void ldmatrix_x4(uint32_t (&r)[4], uint32_t shared, EMU_SITE) { emu_ldmatrix(r, shared, 4, false, site); }
inline void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t shared, EMU_SITE) { emu_ldmatrix(r, shared, 4, true, site); }
inline void stmatrix_x4(uint32_t shared, const uint32_t (&r)[4], EMU_SITE) { emu_stmatrix(r, shared, 4, false, site); }
inline void stmatrix_x4_trans(uint32_t shared, const uint32_t (&r)[4], EMU_SITE) { emu_stmatrix(r, shared, 4, true, site); }

template <class T> constexpr enum emu_element emu_element_of = element_is_bf16<T> ? EMU_BF16 : EMU_F16;

template <class T> inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, EMU_SITE)
{
    uint32_t b[2] = { b0, b1 };
    emu_mma(d, a, b, emu_element_of<T>, site);
}

/* ---- named barriers ---- */

template <int ID, int THREADS> inline void named_barrier_sync(EMU_SITE) { emu_barrier(ID, THREADS, site); }
template <int ID, int THREADS> inline void named_barrier_arrive(EMU_SITE) { emu_barrier_arrive(ID, THREADS, site); }

/* ---- cp.async ---- */

template <int BYTES> inline void cp_async(uint32_t shared, const void *from, bool valid = true, EMU_SITE)
{
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async moves 4, 8 or 16 bytes");
    emu_cp_async(shared, from, BYTES, valid ? BYTES : 0, site);
}
inline void cp_async_part(uint32_t shared, const void *from, int bytes, EMU_SITE) { emu_cp_async(shared, from, 16, bytes, site); }
inline void cp_async_commit(EMU_SITE) { emu_cp_async_commit(site); }
template <int GROUPS> inline void cp_async_wait(EMU_SITE) { emu_cp_async_wait(GROUPS, site); }
inline void cp_async_wait_all(EMU_SITE) { emu_cp_async_wait(-1, site); }
inline void cp_async_arrive(uint32_t barrier, EMU_SITE) { emu_cp_async_arrive(barrier, site); }

/* ---- mbarriers ---- */

inline void mbarrier_init(uint32_t barrier, uint32_t arrivals, EMU_SITE) { emu_mbarrier_init(barrier, arrivals, site); }
inline void mbarrier_invalidate(uint32_t barrier, EMU_SITE) { emu_mbarrier_invalidate(barrier, site); }
inline void mbarrier_arrive(uint32_t barrier, EMU_SITE) { emu_mbarrier_arrive(barrier, 1, 0, site); }
inline void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes, EMU_SITE) { emu_mbarrier_arrive(barrier, 1, bytes, site); }
inline void mbarrier_expect(uint32_t barrier, uint32_t bytes, EMU_SITE) { emu_mbarrier_arrive(barrier, 0, bytes, site); }
inline bool mbarrier_try_wait(uint32_t barrier, uint32_t parity, EMU_SITE) { return emu_mbarrier_test(barrier, parity, site); }
inline void mbarrier_wait(uint32_t barrier, uint32_t parity, EMU_SITE) { emu_mbarrier_wait(barrier, parity, site); }
inline void mbarrier_arrive_remote(uint32_t cluster_barrier, EMU_SITE) { emu_cluster_arrive_at(cluster_barrier, site); }
inline void mbarrier_arrive_remote_block(uint32_t cluster_barrier, EMU_SITE) { emu_cluster_arrive_at(cluster_barrier, site); }
inline void fence_mbarrier_init() { emu_fence_mbarrier_init(); }
inline void fence_proxy_async() { emu_fence_proxy_async(); }

/* ---- TMA ---- */

inline void tensor_map_prefetch(const CUtensorMap *map, EMU_SITE) { emu_map_prefetch(map, site); }
inline void tma_load_2d(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, EMU_SITE)
{
    struct emu_tma tma = { map, shared, barrier, 2, { x, y }, 0 };
    emu_tma_load(&tma, site);
}
inline void tma_load_3d(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, int z, EMU_SITE)
{
    struct emu_tma tma = { map, shared, barrier, 3, { x, y, z }, 0 };
    emu_tma_load(&tma, site);
}
inline void tma_load_4d(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, int z, int w, EMU_SITE)
{
    struct emu_tma tma = { map, shared, barrier, 4, { x, y, z, w }, 0 };
    emu_tma_load(&tma, site);
}
inline void tma_load_2d_multicast(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, uint16_t ranks,
                                  EMU_SITE)
{
    struct emu_tma tma = { map, shared, barrier, 2, { x, y }, ranks };
    emu_tma_load(&tma, site);
}
inline void tma_load_2d_policy(uint32_t shared, const CUtensorMap *map, uint32_t barrier, int x, int y, uint64_t, EMU_SITE)
{
    struct emu_tma tma = { map, shared, barrier, 2, { x, y }, 0 };
    emu_tma_load(&tma, site);
}
inline uint64_t policy_evict_first() { return 1; }
inline uint64_t policy_evict_last() { return 2; }
inline void tma_store_2d(const CUtensorMap *map, uint32_t shared, int x, int y, EMU_SITE)
{
    struct emu_tma tma = { map, shared, 0, 2, { x, y }, 0 };
    emu_tma_store(&tma, site);
}
inline void tma_store_3d(const CUtensorMap *map, uint32_t shared, int x, int y, int z, EMU_SITE)
{
    struct emu_tma tma = { map, shared, 0, 3, { x, y, z }, 0 };
    emu_tma_store(&tma, site);
}
inline void bulk_load(uint32_t shared, const void *from, uint32_t bytes, uint32_t barrier, EMU_SITE)
{
    emu_bulk_load(shared, from, bytes, barrier, site);
}
inline void bulk_store(void *to, uint32_t shared, uint32_t bytes, EMU_SITE) { emu_bulk_store(to, shared, bytes, site); }
inline void bulk_prefetch(const void *from, uint32_t bytes, EMU_SITE) { emu_bulk_prefetch(from, bytes, site); }
inline void bulk_commit(EMU_SITE) { emu_bulk_commit(site); }
template <int GROUPS> inline void bulk_wait(EMU_SITE) { emu_bulk_wait(GROUPS, false, site); }
template <int GROUPS> inline void bulk_wait_read(EMU_SITE) { emu_bulk_wait(GROUPS, true, site); }

/* ---- clusters and launches ---- */

inline uint32_t cluster_rank() { return emu_cluster_rank(); }
inline uint32_t cluster_size() { return emu_cluster_size(); }
inline void cluster_arrive(EMU_SITE) { emu_cluster_arrive(true, site); }
inline void cluster_arrive_relaxed(EMU_SITE) { emu_cluster_arrive(false, site); }
inline void cluster_wait(EMU_SITE) { emu_cluster_wait(site); }
inline uint32_t cluster_address(uint32_t shared, uint32_t rank, EMU_SITE) { return emu_cluster_address(shared, rank, site); }
inline uint32_t cluster_load(uint32_t address, EMU_SITE) { return emu_cluster_load(address, site); }
inline void cluster_store(uint32_t address, uint32_t value, EMU_SITE) { emu_cluster_store(address, value, site); }
inline void cluster_store_async(uint32_t address, uint32_t value, uint32_t cluster_barrier, EMU_SITE)
{
    emu_cluster_store_async(address, value, cluster_barrier, site);
}
inline void launch_wait() {}  /* launches never overlap here */
inline void launch_dependents() {}

/* ---- wgmma ---- */

template <int COUNT> inline void registers_raise(EMU_SITE)
{
    static_assert(COUNT % 8 == 0 && COUNT >= 24 && COUNT <= 256, "a multiple of 8 from 24 to 256");
    emu_registers(COUNT, true, site);
}
template <int COUNT> inline void registers_lower(EMU_SITE)
{
    static_assert(COUNT % 8 == 0 && COUNT >= 24 && COUNT <= 256, "a multiple of 8 from 24 to 256");
    emu_registers(COUNT, false, site);
}
inline void wgmma_fence(EMU_SITE) { emu_wgmma_fence(site); }
inline void wgmma_commit(EMU_SITE) { emu_wgmma_commit(site); }
template <int GROUPS> inline void wgmma_wait(EMU_SITE) { emu_wgmma_wait(GROUPS, site); }
template <int N> inline void wgmma_settle(float (&)[N]) {}
template <int N> inline void wgmma_settle(uint32_t (&)[N]) {}

template <class T, int TRANSPOSE_A = 0, int TRANSPOSE_B = 0, int R>
inline void wgmma_ss(float (&d)[R], uint64_t a, uint64_t b, int accumulate, EMU_SITE)
{
    static_assert(R % 8 == 0 && R <= 128, "an accumulator of N / 2 floats, N a multiple of 16 up to 256");
    struct emu_wgmma product = {
        d, nullptr, a, b, 2 * R, emu_element_of<T>, accumulate != 0, TRANSPOSE_A != 0, TRANSPOSE_B != 0
    };
    emu_wgmma(&product, site);
}
template <class T, int TRANSPOSE_B = 0, int R>
inline void wgmma_rs(float (&d)[R], const uint32_t (&a)[4], uint64_t b, int accumulate, EMU_SITE)
{
    static_assert(R % 8 == 0 && R <= 128, "an accumulator of N / 2 floats, N a multiple of 16 up to 256");
    struct emu_wgmma product = { d, a, 0, b, 2 * R, emu_element_of<T>, accumulate != 0, false, TRANSPOSE_B != 0 };
    emu_wgmma(&product, site);
}
template <int R> inline void wgmma_ss_e4m3(float (&d)[R], uint64_t a, uint64_t b, int accumulate, EMU_SITE)
{
    struct emu_wgmma product = { d, nullptr, a, b, 2 * R, EMU_E4M3, accumulate != 0, false, false };
    emu_wgmma(&product, site);
}
template <int R> inline void wgmma_rs_e4m3(float (&d)[R], const uint32_t (&a)[4], uint64_t b, int accumulate, EMU_SITE)
{
    struct emu_wgmma product = { d, a, 0, b, 2 * R, EMU_E4M3, accumulate != 0, false, false };
    emu_wgmma(&product, site);
}
