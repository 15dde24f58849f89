/* attention_infinite.cuh: infinities and NaNs among the values of keys that a causal row does not see.
 *
 * A key that is not seen weighs 0, and 0 times infinity is no number: in a tile on the diagonal, where some rows see a key and
 * others do not, one such value of a later row would reach earlier ones through the matrix product. So, in tiles on the diagonal
 * alone, whatever is no finite number becomes a zero in shared memory before the product (infinite_clear), and in the rare case
 * that there was something, the rows that do see it have it added to their results, from device memory (strips_restore).
 * Products of finite values are what they were: a zero for a zero weight times a number.
 */
#ifndef RECTO_KERNELS_ATTENTION_ATTENTION_INFINITE_CUH
#define RECTO_KERNELS_ATTENTION_ATTENTION_INFINITE_CUH

#include "kernels/cuda/rows.cuh"

#include "kernels/cuda/fragments.cuh"

/* The top bit of each half of a pair that is an infinity or a NaN: one more than the greatest exponent carries into it. */
template <class T> DEVICE uint32_t infinite_halves(uint32_t pair)
{
    constexpr uint32_t exponent = element_is_bf16<T> ? 0x7f807f80u : 0x7c007c00u;
    constexpr uint32_t one      = element_is_bf16<T> ? 0x00800080u : 0x04000400u;
    return ((pair & exponent) + one) & 0x80008000u;
}

/* Eight elements in shared memory: what is no finite number becomes zero. Whether there was any. */
template <class T> DEVICE bool infinite_clear(void *at)
{
    uint4          v = *(const uint4 *)at;
    const uint32_t x = infinite_halves<T>(v.x), y = infinite_halves<T>(v.y);
    const uint32_t z = infinite_halves<T>(v.z), w = infinite_halves<T>(v.w);
    if ((x | y | z | w) == 0)
        return false;
    v.x &= ~((x >> 15) * 0xffffu);
    v.y &= ~((y >> 15) * 0xffffu);
    v.z &= ~((z >> 15) * 0xffffu);
    v.w &= ~((w >> 15) * 0xffffu);
    *(uint4 *)at = v;
    return true;
}

/* Whatever is no finite number, as a float; 0 for the others, which an infinity swallows. */
template <class T> DEVICE float infinite_part(uint16_t bits)
{
    constexpr int mantissa = element_is_bf16<T> ? 7 : 10;
    const float   value    = __uint_as_float((uint32_t)(bits & 0x8000) << 16 | 0x7f800000u |
                                             (uint32_t)(bits & ((1 << mantissa) - 1)) << (23 - mantissa));
    return infinite_halves<T>(bits) ? value : 0.0f;
}

#endif
