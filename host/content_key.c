#include "host/content_key.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY  /* the state on the stack */
#include <xxhash.h>

struct remembered {
    uint64_t           magic;
    uint64_t           device, inode, size, modified, changed;
    struct content_key key;
    uint64_t           check;  /* XXH3 of the fields before */
};
static const uint64_t magic = 0x31796b6f74636572;  /* "rectoky1" */

void content_make_folder(const char *path)
{
    char copy[4096];
    int  length = snprintf(copy, sizeof copy, "%s", path);
    if (length <= 0 || (size_t)length >= sizeof copy)
        return;
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(copy, 0777);
        *slash = '/';
    }
    mkdir(copy, 0777);
}

static uint64_t nanoseconds(const struct timespec *time) { return (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec; }

static bool identify(const char *path, struct remembered *file)
{
    struct stat about;
    if (stat(path, &about))
        return false;
    *file = (struct remembered){ .magic    = magic,
                                 .device   = (uint64_t)about.st_dev,
                                 .inode    = (uint64_t)about.st_ino,
                                 .size     = (uint64_t)about.st_size,
                                 .modified = nanoseconds(&about.st_mtim),
                                 .changed  = nanoseconds(&about.st_ctim) };
    return true;
}

static uint64_t check_of(const struct remembered *file) { return XXH3_64bits(file, offsetof(struct remembered, check)); }

static bool recall(const char *memo, const struct remembered *file, struct content_key *key)
{
    struct remembered found;
    int               descriptor = open(memo, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    ssize_t got = read(descriptor, &found, sizeof found);
    close(descriptor);
    if (got != (ssize_t)sizeof found || found.check != check_of(&found) ||
        memcmp(&found, file, offsetof(struct remembered, key)) != 0)
        return false;
    *key = found.key;
    return true;
}

/* Best effort: a torn file fails its check and is made again. */
static void remember(const char *memo, struct remembered *file)
{
    file->check    = check_of(file);
    int descriptor = open(memo, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return;
    if (write(descriptor, file, sizeof *file) != (ssize_t)sizeof *file)
        unlink(memo);
    close(descriptor);
}

enum { HASHED_AT_ONCE = 1 << 20 };

/* In pieces that leave the resident set as soon as they are read: a table of words is larger than many a budget. */
static void hash_bytes(XXH3_state_t *state, const struct safetensors *tensors, const struct tensor_view *tensor)
{
    const char *data = tensor->data;
    for (uint64_t at = 0; at < tensor->bytes; at += HASHED_AT_ONCE) {
        uint64_t some = tensor->bytes - at < HASHED_AT_ONCE ? tensor->bytes - at : HASHED_AT_ONCE;
        XXH3_128bits_update(state, data + at, some);
        safetensors_drop(tensors, data + at, some);
    }
}

/* All tensors in the order of their names. */
static status hash_tensors(struct pool *pool, const char *path, struct content_key *key, struct error *error)
{
    struct safetensors *tensors;
    status              result = safetensors_open(pool, path, &tensors, error);
    if (result != STATUS_OK)
        return result;
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    for (size_t i = 0; i < safetensors_count(tensors); i++) {
        const struct tensor_view *tensor = safetensors_at(tensors, i);
        XXH3_128bits_update(&state, tensor->name, strlen(tensor->name) + 1);
        XXH3_128bits_update(&state, &tensor->dtype, sizeof tensor->dtype);
        XXH3_128bits_update(&state, tensor->shape, sizeof tensor->shape[0] * (size_t)tensor->rank);
        hash_bytes(&state, tensors, tensor);
    }
    safetensors_close(tensors);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    *key               = (struct content_key){ hash.low64, hash.high64 };
    return STATUS_OK;
}

status content_key_of(const char *path, bool sharded, const char *folder, struct pool *pool, struct content_key *key,
                      struct error *error)
{
    char              memo[4096];
    struct remembered file;
    bool known = !sharded && identify(path, &file);  /* an index says nothing of its shards' state */
    snprintf(memo, sizeof memo, "%s/%016llx.key", folder, (unsigned long long)XXH3_64bits(path, strlen(path)));
    if (known && recall(memo, &file, key))
        return STATUS_OK;
    status result = hash_tensors(pool, path, key, error);
    if (result == STATUS_OK && known) {
        file.key = *key;
        content_make_folder(folder);
        remember(memo, &file);
    }
    return result;
}
