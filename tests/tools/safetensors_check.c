/* safetensors_check: what the safetensors reader makes of many small files, for tests/reference/safetensors_differential.py.
 *
 * Standard input: for each file a 32-bit length, little-endian, and its bytes. Standard output: for each file one line,
 * "refused SENTENCE" or "accepted" and for each tensor " NAME,DTYPE,DIMxDIM...,OFFSET,BYTES", the name in hexadecimal.
 */
#include "loaders/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_view(const struct tensor_view *view)
{
    putchar(' ');
    for (const char *at = view->name; *at; at++)
        printf("%02x", (unsigned)(unsigned char)*at);
    printf(",%s,", dtype_name(view->dtype));
    for (int i = 0; i < view->rank; i++)
        printf("%s%" PRId64, i ? "x" : "", view->shape[i]);
    printf(",%" PRIu64 ",%" PRIu64, view->file_offset, view->bytes);
}

static void check_file(struct pool *pool, const void *bytes, size_t length)
{
    struct safetensors *model;
    struct error        error;
    if (safetensors_open_memory(pool, bytes, length, "input", &model, &error) != STATUS_OK) {
        printf("refused %s\n", error.message);
        return;
    }
    printf("accepted");
    for (size_t i = 0; i < safetensors_count(model); i++)
        print_view(safetensors_at(model, i));
    putchar('\n');
    safetensors_close(model);
}

int main(void)
{
    struct pool *pool;
    uint32_t     length;
    if (pool_open(&pool, 0, NULL) != STATUS_OK)
        return 1;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        void *bytes = malloc(length ? length : 1);
        if (!bytes || fread(bytes, 1, length, stdin) != length)
            return 1;
        check_file(pool, bytes, length);
        free(bytes);
    }
    pool_close(pool);
    return 0;
}
