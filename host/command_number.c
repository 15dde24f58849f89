/* command_number.c: the shortest decimal of a float by Schubfach (Raffaele Giulietti, "The Schubfach way to render
 * doubles", 2020), for 32 bits: scale the value and the two halves of its rounding interval by a power of ten that leaves
 * one or two candidates, with one 64 by 32 bit product each, and take the candidate inside. */
#include "host/command_number.h"

#include <stdbool.h>
#include <string.h>

enum { POWER_FIRST = -31, POWER_LAST = 45 };

/* 10^e for e from POWER_FIRST to POWER_LAST, scaled to 2^63 <= g < 2^64 and rounded up. */
static const uint64_t powers[POWER_LAST - POWER_FIRST + 1] = {
    0x81ceb32c4b43fcf5, 0xa2425ff75e14fc32, 0xcad2f7f5359a3b3f, 0xfd87b5f28300ca0e, 0x9e74d1b791e07e49,
    0xc612062576589ddb, 0xf79687aed3eec552, 0x9abe14cd44753b53, 0xc16d9a0095928a28, 0xf1c90080baf72cb2,
    0x971da05074da7bef, 0xbce5086492111aeb, 0xec1e4a7db69561a6, 0x9392ee8e921d5d08, 0xb877aa3236a4b44a,
    0xe69594bec44de15c, 0x901d7cf73ab0acda, 0xb424dc35095cd810, 0xe12e13424bb40e14, 0x8cbccc096f5088cc,
    0xafebff0bcb24aaff, 0xdbe6fecebdedd5bf, 0x89705f4136b4a598, 0xabcc77118461cefd, 0xd6bf94d5e57a42bd,
    0x8637bd05af6c69b6, 0xa7c5ac471b478424, 0xd1b71758e219652c, 0x83126e978d4fdf3c, 0xa3d70a3d70a3d70b,
    0xcccccccccccccccd, 0x8000000000000000, 0xa000000000000000, 0xc800000000000000, 0xfa00000000000000,
    0x9c40000000000000, 0xc350000000000000, 0xf424000000000000, 0x9896800000000000, 0xbebc200000000000,
    0xee6b280000000000, 0x9502f90000000000, 0xba43b74000000000, 0xe8d4a51000000000, 0x9184e72a00000000,
    0xb5e620f480000000, 0xe35fa931a0000000, 0x8e1bc9bf04000000, 0xb1a2bc2ec5000000, 0xde0b6b3a76400000,
    0x8ac7230489e80000, 0xad78ebc5ac620000, 0xd8d726b7177a8000, 0x878678326eac9000, 0xa968163f0a57b400,
    0xd3c21bcecceda100, 0x84595161401484a0, 0xa56fa5b99019a5c8, 0xcecb8f27f4200f3a, 0x813f3978f8940985,
    0xa18f07d736b90be6, 0xc9f2c9cd04674edf, 0xfc6f7c4045812297, 0x9dc5ada82b70b59e, 0xc5371912364ce306,
    0xf684df56c3e01bc7, 0x9a130b963a6c115d, 0xc097ce7bc90715b4, 0xf0bdc21abb48db21, 0x96769950b50d88f5,
    0xbc143fa4e250eb32, 0xeb194f8e1ae525fe, 0x92efd1b8d0cf37bf, 0xb7abc627050305ae, 0xe596b7b0c643c71a,
    0x8f7e32ce7bea5c70, 0xb35dbf821ae4f38c,
};

struct decimal {
    uint32_t digits;
    int      exponent;  /* the value is digits * 10^exponent */
};

char *number_write(char *to, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
                                "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
                                "9899";
    char  text[NUMBER_MAX_LENGTH];
    char *at = text + sizeof text;
    for (; value >= 100; value /= 100) {
        at -= 2;
        memcpy(at, pairs + value % 100 * 2, 2);
    }
    if (value >= 10) {
        at -= 2;
        memcpy(at, pairs + value * 2, 2);
    } else {
        *--at = (char)('0' + value);
    }
    const size_t length = (size_t)(text + sizeof text - at);
    memcpy(to, at, length);
    return to + length;
}

/* Floors of logarithms, exact in the range of floats. Right shifts of negative numbers keep the sign in every compiler
 * that builds this. */
static int log10_of_power2(int e) { return (e * 1262611) >> 22; }
static int log10_of_three_quarters_of_power2(int e) { return (e * 1262611 - 524031) >> 22; }
static int log2_of_power10(int e) { return (e * 1741647) >> 19; }

/* g * c / 2^64 with the last bit set if anything was cut off ("round to odd"), which keeps comparisons exact. */
static uint32_t multiply(uint64_t g, uint32_t c)
{
    const uint64_t low = (g & 0xffffffffu) * c, product = (g >> 32) * c + (low >> 32);
    return (uint32_t)(product >> 32) | ((uint32_t)product > 1);
}

/* The shortest decimal of significand * 2^exponent; `narrow` where the float below is nearer than the one above. */
static struct decimal shortest(uint32_t significand, int exponent, bool narrow)
{
    const int      k    = narrow ? log10_of_three_quarters_of_power2(exponent) : log10_of_power2(exponent);
    const int      h    = exponent + log2_of_power10(-k) + 1;
    const uint64_t g    = powers[-k - POWER_FIRST];
    const uint32_t odd  = significand & 1;  /* ties go to even: the ends belong to the interval of an even significand */
    const uint32_t low  = multiply(g, (4 * significand - 2 + narrow) << h) + odd;
    const uint32_t self = multiply(g, 4 * significand << h);
    const uint32_t high = multiply(g, (4 * significand + 2) << h) - odd;
    const uint32_t s    = self / 4;
    if (s >= 10) {
        const uint32_t tens  = s / 10;
        const bool     below = low <= 40 * tens, above = 40 * tens + 40 <= high;
        if (below != above)
            return (struct decimal){ tens + above, k + 1 };
    }
    const bool below = low <= 4 * s, above = 4 * s + 4 <= high;
    if (below != above)
        return (struct decimal){ s + above, k };
    const uint32_t middle = 4 * s + 2;
    return (struct decimal){ s + (self > middle || (self == middle && (s & 1))), k };
}

static char *write_zeros(char *to, int count)
{
    memset(to, '0', (size_t)count);
    return to + count;
}

/* `length` digits with the point behind the first `point` of them (which may lie outside them). */
static char *write_fixed(char *to, const char *digits, int length, int point)
{
    if (point <= 0) {
        *to++ = '0';
        *to++ = '.';
        to    = write_zeros(to, -point);
        memcpy(to, digits, (size_t)length);
        return to + length;
    }
    const int whole = length < point ? length : point;
    memcpy(to, digits, (size_t)whole);
    to    = write_zeros(to + whole, point - whole);
    *to++ = '.';
    if (length == whole)
        *to++ = '0';
    memcpy(to, digits + whole, (size_t)(length - whole));
    return to + (length - whole);
}

static char *write_scientific(char *to, const char *digits, int length, int point)
{
    *to++ = digits[0];
    if (length > 1) {
        *to++ = '.';
        memcpy(to, digits + 1, (size_t)(length - 1));
        to += length - 1;
    }
    *to++ = 'e';
    if (point - 1 < 0)
        *to++ = '-';
    return number_write(to, (uint64_t)(point - 1 < 0 ? 1 - point : point - 1));
}

char *number_write_float(char *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t fraction = bits & 0x7fffff;
    const int      biased   = (int)(bits >> 23 & 0xff);
    if (biased == 0xff) {
        memcpy(to, "null", 4);
        return to + 4;
    }
    if (bits >> 31)
        *to++ = '-';
    if (biased == 0 && fraction == 0) {
        memcpy(to, "0.0", 3);
        return to + 3;
    }
    const struct decimal decimal = shortest(biased ? fraction | 0x800000 : fraction, biased ? biased - 150 : -149,
                                            fraction == 0 && biased > 1);
    char digits[NUMBER_MAX_LENGTH];
    int  length = (int)(number_write(digits, decimal.digits) - digits);
    const int point = length + decimal.exponent;
    while (length > 1 && digits[length - 1] == '0')
        length--;
    return point > -5 && point <= 9 ? write_fixed(to, digits, length, point) : write_scientific(to, digits, length, point);
}
