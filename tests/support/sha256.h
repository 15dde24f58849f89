/* sha256.h: the hash by which tests pin results: SHA-256 (FIPS 180-4) of bytes given piece by piece. */
#ifndef RECTO_TESTS_SUPPORT_SHA256_H
#define RECTO_TESTS_SUPPORT_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t      state[8];
    uint64_t      bytes;
    unsigned char block[64];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t bytes);
/* In lower-case hexadecimal. */
void sha256_end(struct sha256 *hash, char text[65]);

/* All at once. */
void sha256_of(const void *data, size_t bytes, char text[65]);

#endif
