/* Any bytes as a safetensors file: refused with a sentence, or tensors that lie inside the file, cover its data once and
 * are found by their names. */
#include "loaders/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { CEILING = 64 << 20 };

static void check(int truth)
{
    if (!truth)
        abort();
}

/* Divides where the reader multiplies, so that both do not overflow alike. */
static void check_size(const struct tensor_view *view)
{
    uint64_t rest = view->bytes * 8;
    for (int i = 0; i < view->rank; i++) {
        check(view->shape[i] >= 0);
        if (view->shape[i] == 0) {
            check(view->bytes == 0);
            return;
        }
        check(rest % (uint64_t)view->shape[i] == 0);
        rest /= (uint64_t)view->shape[i];
    }
    check(rest == (uint64_t)dtype_bits(view->dtype));
}

static void check_model(const struct safetensors *model, const uint8_t *bytes, size_t length)
{
    uint8_t *covered = calloc(length, 1);
    uint64_t data = 0, first = length;
    for (size_t i = 0; i < safetensors_count(model); i++) {
        const struct tensor_view *view = safetensors_at(model, i);
        check(safetensors_find(model, view->name) == view);
        check(view->file_offset <= length && view->bytes <= length - view->file_offset);
        check(view->data == bytes + view->file_offset);
        check_size(view);
        for (uint64_t at = view->file_offset; at < view->file_offset + view->bytes; at++)
            check(!covered[at]++);
        data += view->bytes;
        first = view->file_offset < first ? view->file_offset : first;
    }
    check(data == length - first);
    free(covered);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct pool        *pool;
    struct safetensors *model;
    struct pool_usage   usage;
    struct error        error = {0};
    check(pool_open(&pool, CEILING, NULL) == STATUS_OK);
    status code = safetensors_open_memory(pool, bytes, length, "fuzz.safetensors", &model, &error);
    if (code == STATUS_OK)
        check_model(model, bytes, length);
    else
        check(!model && error.message[0] && error.code == code);
    safetensors_close(model);
    pool_usage(pool, &usage);
    check(usage.in_use == 0);
    pool_close(pool);
    return 0;
}
