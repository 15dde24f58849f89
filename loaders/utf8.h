/* utf8.h: strict UTF-8, one code point at a time.
 *
 * Overlong forms, surrogates and values above U+10FFFF are refused, as the Unicode standard asks.
 */
#ifndef RECTO_LOADERS_UTF8_H
#define RECTO_LOADERS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool utf8_continues(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The code point at `at` (at < end); returns its length in bytes, or 0 where no well-formed one begins. */
static inline unsigned utf8_decode(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
    const size_t room = (size_t)(end - at);
    const uint8_t lead = at[0];

    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    if (room >= 2 && lead >= 0xC2 && lead < 0xE0 && utf8_continues(at[1])) {
        *code = (lead & 0x1Fu) << 6 | (at[1] & 0x3Fu);
        return 2;
    }
    if (room >= 3 && (lead & 0xF0) == 0xE0 && utf8_continues(at[1]) && utf8_continues(at[2])) {
        *code = (lead & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
        return *code >= 0x800 && (*code & 0xF800u) != 0xD800 ? 3 : 0;
    }
    if (room >= 4 && (lead & 0xF8) == 0xF0 && utf8_continues(at[1]) && utf8_continues(at[2]) && utf8_continues(at[3])) {
        *code = (lead & 0x07u) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu);
        return *code >= 0x10000 && *code < 0x110000 ? 4 : 0;
    }
    return 0;
}

/* The code point that ends right before `at` (at > start); returns its length, or 0 where none does. */
static inline unsigned utf8_decode_before(const uint8_t *at, const uint8_t *start, uint32_t *code)
{
    const uint8_t *lead = at - 1;

    while (lead > start && at - lead < 4 && utf8_continues(*lead))
        lead--;
    return utf8_decode(lead, at, code) == (unsigned)(at - lead) ? (unsigned)(at - lead) : 0;
}

static inline bool utf8_is_valid(const char *text, size_t length)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + length;
    uint32_t code;

    for (unsigned step; at < end; at += step)
        if ((step = utf8_decode(at, end, &code)) == 0)
            return false;
    return true;
}

/* The bytes of a code point, the first one lowest; returns how many. */
static inline unsigned utf8_encode(uint32_t code, uint32_t *bytes)
{
    if (code < 0x80) {
        *bytes = code;
        return 1;
    }
    if (code < 0x800) {
        *bytes = (0xC0u | code >> 6) | (0x80u | (code & 0x3Fu)) << 8;
        return 2;
    }
    if (code < 0x10000) {
        *bytes = (0xE0u | code >> 12) | (0x80u | (code >> 6 & 0x3Fu)) << 8 | (0x80u | (code & 0x3Fu)) << 16;
        return 3;
    }
    *bytes = (0xF0u | code >> 18) | (0x80u | (code >> 12 & 0x3Fu)) << 8 | (0x80u | (code >> 6 & 0x3Fu)) << 16 |
             (0x80u | (code & 0x3Fu)) << 24;
    return 4;
}

#endif
