/* dtype.h: the element types that weight files and tensors may have. */
#ifndef RECTO_KERNELS_DTYPE_H
#define RECTO_KERNELS_DTYPE_H

enum dtype {
    DTYPE_F32,
    DTYPE_BF16,
    DTYPE_F16,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U64,
    DTYPE_U32,
    DTYPE_U16,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_C64,  /* two F32: real, imaginary */
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_F8_E8M0,
    DTYPE_F8_E4M3FNUZ,
    DTYPE_F8_E5M2FNUZ,
    DTYPE_F6_E2M3,  /* the last three are packed without gaps: an element is not a whole number of bytes */
    DTYPE_F6_E3M2,
    DTYPE_F4,
    DTYPE_COUNT
};

/* The name that safetensors files use. */
static inline const char *dtype_name(enum dtype dtype)
{
    static const char *const names[DTYPE_COUNT] = {
        "F32", "BF16", "F16", "F64", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "C64",
        "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4"};
    return (unsigned)dtype < DTYPE_COUNT ? names[dtype] : "unknown";
}

/* Bits of one element; 0 for what is no dtype. */
static inline int dtype_bits(enum dtype dtype)
{
    static const unsigned char bits[DTYPE_COUNT] = {32, 16, 16, 64, 64, 32, 16, 8, 64, 32, 16,
                                                    8,  8,  64, 8,  8,  8,  8,  8, 6,  6,  4};
    return (unsigned)dtype < DTYPE_COUNT ? bits[dtype] : 0;
}

#endif
